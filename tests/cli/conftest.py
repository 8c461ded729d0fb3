"""Runs the command line: in this process against a scripted gateway, or as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reelgate.cli import main

KEY = "sk-test-key"
TASK_ID = "task_" + "2" * 32
VIDEO = bytes(range(256)) * 40


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run("models", "--json", REELGATE_PORT="1")`, in a directory of its own."""
    for variable in ("XAI_API_KEY", "REELGATE_CONFIG", "REELGATE_URL", "REELGATE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)

    def run_it(*args: str, **env: str) -> Ran:
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(args)
        said = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ran(code or 0, said.out, said.err)

    return run_it


# Whoever runs the tests may ignore SIGINT (a shell does for its background jobs), and children
# inherit that: make sure that Ctrl-C means what it means on a terminal.
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from reelgate.cli import main; main(sys.argv[1:])"
)


class Shell:
    """Starts `reelgate` in a directory of its own, without any setting from outside."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []
        keep = {"PATH", "HOME", "LANG", "TMPDIR"}
        self.env = {name: value for name, value in os.environ.items() if name in keep}

    def start(self, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *args],
            cwd=self.directory,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def run(self, *args: str) -> tuple[int, str, str]:
        process = self.start(*args)
        out, err = process.communicate(timeout=40)
        return process.returncode, out, err

    def json(self, *args: str) -> Any:
        code, out, err = self.run(*args, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell; what it started and still runs is ended with the test."""
    started = Shell(tmp_path)
    yield started
    for process in started.started:
        if process.returncode is None:
            process.kill()
            process.communicate()


@dataclass
class Request:
    """What the gateway was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What the gateway answers; `cut` is how many bytes of the body are sent before it hangs up."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class FakeGateway:
    """Answers the n-th request for a route with the n-th reply of its script, the last for ever."""

    def __init__(self) -> None:
        self.script: dict[str, list[Reply]] = {}
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def env(self) -> dict[str, str]:
        return {"REELGATE_URL": self.url, "REELGATE_API_KEY": KEY}

    def asked(self, route: str) -> list[Request]:
        method, _, path = route.partition(" ")
        return [r for r in self.requests if r.method == method and r.path.startswith(path)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply_to(self, request: Request) -> Reply:
        self.requests.append(request)
        matching = [
            route for route in self.script if f"{request.method} {request.path}".startswith(route)
        ]
        if not matching:
            error = {"message": "No such route.", "type": "not_found_error", "param": None}
            return Reply(404, {"error": {**error, "code": "route_not_found"}})
        replies = self.script[max(matching, key=len)]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                reply = _ranged(gateway.reply_to(request), headers)
                body = reply.body
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data if reply.cut is None else data[: reply.cut])

            do_GET = do_POST = answer  # noqa: N815 - the names that http.server wants

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                """Keep stderr for the command under test."""

        return Handler


def _ranged(reply: Reply, headers: dict[str, str]) -> Reply:
    """Bytes answer to `Range: bytes=N-`."""
    if not isinstance(reply.body, bytes) or reply.status != 200 or "range" not in headers:
        return reply
    start, whole = int(headers["range"].removeprefix("bytes=").rstrip("-")), reply.body
    if start >= len(whole):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(whole)}"})
    said = {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"}
    return Reply(206, whole[start:], said, reply.cut)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway where a task is created, made and delivered."""
    fake = FakeGateway()
    fake.script = {
        "POST /v1/videos": [Reply(200, task("queued"), {"openai-poll-after-ms": "1000"})],
        f"GET /v1/videos/{TASK_ID}": [Reply(200, task("completed"))],
        f"GET /v1/videos/{TASK_ID}/content": [Reply(200, VIDEO, {"Content-Type": "video/mp4"})],
        "GET /v1/balance": [
            Reply(
                200,
                {"object": "balance", "currency": "USD", "available": "9.72", "held": "0.00"},
            )
        ],
    }
    yield fake
    fake.close()


def task(status: str, **changes: Any) -> dict[str, Any]:
    """A task object as the contract has it, as far as the command line reads it."""
    item = {
        "item": "output_second_720p",
        "quantity": 4,
        "unit": "second",
        "unit_price": "0.07",
        "amount": "0.28",
    }
    done = status == "completed"
    return {
        "id": TASK_ID,
        "object": "video",
        "status": status,
        "progress": 100 if done else 0,
        "model": "grok-imagine",
        "size": "720p",
        "seconds": "4",
        "error": None,
        "billing": {
            "currency": "USD",
            "max_cost": "0.28",
            "cost": "0.28" if done else None,
            "items": [item],
        },
        **changes,
    }
