"""A request as a row of a table, and what every refusal must look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.live import Account

PROMPT = "a paper boat"
Json = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request. `files` are bytes, or names in the folder of inputs; with any of them, or
    with `form`, it is multipart; `pairs` is urlencoded and `content` goes out as it is."""

    method: str = "POST"
    path: str = "/v1/videos"
    json: Any = None
    form: Mapping[str, str] | None = None
    files: tuple[tuple[str, str | bytes], ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, http: httpx.Client, inputs: Path | None = None) -> httpx.Response:
        """The answer."""
        if self.form is not None or self.files:
            return self._multipart(http, inputs)
        if self.pairs:
            encoded = str(httpx.QueryParams(self.pairs)).encode()
            headers = {"content-type": "application/x-www-form-urlencoded", **self.headers}
            return http.request(self.method, self.path, content=encoded, headers=headers)
        if self.content is not None:
            return http.request(
                self.method, self.path, content=self.content, headers=dict(self.headers)
            )
        return http.request(self.method, self.path, json=self.json, headers=dict(self.headers))

    def _multipart(self, http: httpx.Client, inputs: Path | None) -> httpx.Response:
        parts: list[tuple[str, Any]] = [
            (name, (None, text)) for name, text in (self.form or {}).items()
        ]
        for name, content in self.files:
            data = content if isinstance(content, bytes) else _read(inputs, content)
            parts.append((name, ("upload", data, "application/octet-stream")))
        return http.request(self.method, self.path, files=parts, headers=dict(self.headers))


def _read(inputs: Path | None, name: str) -> bytes:
    assert inputs is not None
    return (inputs / name).read_bytes()


def create(**fields: Any) -> Ask:
    """POST /v1/videos by JSON: one second of text to video, with these fields changed.

    None leaves a field out.
    """
    body = {"model": "grok-imagine", "prompt": PROMPT, "duration": 1, **fields}
    return Ask(json={name: value for name, value in body.items() if value is not None})


def upload(*files: tuple[str, str | bytes], **fields: str | None) -> Ask:
    """The same as multipart, with files."""
    body = {"model": "grok-imagine", "prompt": PROMPT, "duration": "1", **fields}
    form = {name: value for name, value in body.items() if value is not None}
    return Ask(form=form, files=files)


def check_refusal(answer: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """Holds an answer against section 5 of the contract; its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_[0-9a-f]{24}", answer.headers["x-request-id"])
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == TYPES[status], error
    assert (error["code"], error["param"]) == (code, param), error["message"]
    message = error["message"]
    assert isinstance(message, str)
    assert message.strip()
    # No trace, path, SQL, key, upstream or account ever leaves in a message.
    assert not re.search(r"Traceback|File \"|/src/|SELECT |sk-[A-Za-z0-9]{8}|acct_|key_", message)
    return message


TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    410: "not_found_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    416: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    507: "server_error",
}


@dataclass
class Untouched:
    """Sees to it that a refused request has stored and charged nothing."""

    account: Account

    def __post_init__(self) -> None:
        self._before = self._now()

    def check(self) -> None:
        assert self._now() == self._before

    def _now(self) -> tuple[Any, ...]:
        return self.account.balance(), [task["id"] for task in self.account.tasks()]
