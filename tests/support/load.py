"""A small mixed load over HTTP, sent the way a careful client does: each request with a key of its
own, and sent again, with the same key, when the answer did not come.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.processes import LOOK_S

TIMEOUT_S = 20.0
SMALL = {"model": "grok-imagine", "size": "480x480", "duration": 1}


class NoAnswerError(Exception):
    """The server was not there, or went away before it had answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Api:
    """A server and a key for it."""

    url: str
    key: str

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own. Raises NoAnswerError."""
        sent = {"Authorization": f"Bearer {self.key}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        given = {name.lower(): value for name, value in response.getheaders()}
        is_json = given.get("content-type", "").startswith("application/json")
        return Answer(response.status, given, json.loads(data) if is_json and data else data)

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/v1/videos/{task_id}")
        assert answer.status == 200, answer
        task: dict[str, Any] = answer.body
        return task

    def ended(self, task_id: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The task at its end."""
        deadline = time.monotonic() + timeout_s
        while (task := self.task(task_id))["status"] not in {"completed", "failed"}:
            if time.monotonic() > deadline:
                raise AssertionError(f"{task_id} has not ended: {task}")
            time.sleep(LOOK_S * 3)
        return task


@dataclass
class Request:
    """One create, and how its task ends when nothing goes wrong: None is completed."""

    prompt: str
    error: str | None = None
    image: bytes | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(default_factory=lambda: f"key-{secrets.token_hex(8)}")
    task_id: str | None = None

    def send(self, api: Api) -> Answer:
        """Create, or find out what was created. Raises NoAnswerError."""
        body, extra = self.body()
        answer = api.call("POST", "/v1/videos", body, Idempotency_Key=self.key, **extra)
        assert answer.status == 200, answer
        replayed = answer.headers.get("idempotent-replayed") == "true"
        if self.task_id is not None:
            assert (answer.body["id"], replayed) == (self.task_id, True)
        self.task_id = answer.body["id"]
        return answer

    def body(self) -> tuple[bytes | Mapping[str, Any], dict[str, str]]:
        """What is sent: a body, and the headers that go with it."""
        fields = {**SMALL, "prompt": self.prompt, **self.fields}
        fields = {name: value for name, value in fields.items() if value is not None}
        if self.image is None:
            return fields, {}
        boundary = secrets.token_hex(8)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        body = "".join(parts).encode() + head.encode() + self.image
        body += f"\r\n--{boundary}--\r\n".encode()
        return body, {"Content_Type": f"multipart/form-data; boundary={boundary}"}


def send_all(api: Api, requests: Iterable[Request]) -> int:
    """Send what has no answer yet, until the server goes away; how many were answered."""
    answered = 0
    for request in requests:
        try:
            request.send(api)
        except NoAnswerError:
            break
        answered += 1
    return answered
