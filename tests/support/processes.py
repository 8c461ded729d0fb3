"""Real server processes that a test starts, kills, stops and starts again.

with processes() as zygote:
    server = zygote.serve(folder, REELGATE_CRASH_AT="settle.after_commit")
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.live import QUICK

READY = "reelgate is ready: "
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 30.0
LOOK_S = 0.01


class EndedEarlyError(AssertionError):
    """A server was gone before it was ready; the text is its log."""


@dataclass
class Server:
    """One process. `url` is None for one that answers no requests."""

    folder: Path
    pid: int
    log_path: Path
    _zygote: Zygote
    url: str | None = None
    code: int | None = None

    def log(self) -> str:
        """What it has said."""
        return self.log_path.read_text("utf-8", "replace")

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        if self.code is None:
            self.code = self._zygote.ask({"do": "poll", "pid": self.pid})["code"]
        return self.code

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit code, once there is one."""
        until(lambda: self.poll() is not None, timeout_s, self.log)
        assert self.code is not None
        return self.code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def begin_to_stop(self) -> None:
        """SIGTERM."""
        self.signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM, and wait until it has drained; its exit code."""
        self.begin_to_stop()
        return self.wait()

    def said(self, text: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the log has this text."""
        until(lambda: text in self.log() or self.poll() is not None, timeout_s, self.log)
        assert text in self.log(), self.log()


@dataclass
class Zygote:
    """See the module `zygote`; may be used from several threads."""

    _process: subprocess.Popen[str]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _servers: list[Server] = field(default_factory=list)

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        with self._lock:
            stdin.write(json.dumps(order) + "\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    def start(self, folder: Path, *args: str, log: str = "log", **env: str) -> Server:
        """Begin `reelgate serve` in a folder and wait for nothing; everything quick and open."""
        folder.mkdir(parents=True, exist_ok=True)
        log_path = folder / log
        order = {
            "do": "start",
            "args": ["serve", *args],
            "folder": str(folder),
            "log": str(log_path),
            "env": {**QUICK, "REELGATE_DATA_DIR": str(folder / "data"), **env},
        }
        log_path.touch()
        server = Server(folder, self.ask(order)["pid"], log_path, self)
        self._servers.append(server)
        return server

    def serve(self, folder: Path, *args: str, log: str = "log", **env: str) -> Server:
        """A server that answers. Raises EndedEarlyError."""
        server = self.serve_until_it_ends(folder, *args, log=log, **env)
        if server.url is None:
            raise EndedEarlyError(f"ended with {server.code}:\n{server.log()}")
        return server

    def serve_until_it_ends(self, folder: Path, *args: str, log: str = "log", **env: str) -> Server:
        """A server that answers, or is gone before it did: then it has no `url`."""
        already = (folder / log).stat().st_size if (folder / log).exists() else 0
        server = self.start(folder, *args, log=log, **env)

        def new_lines() -> list[str]:
            return server.log_path.read_bytes()[already:].decode("utf-8", "replace").splitlines()

        def ready() -> bool:
            return server.poll() is not None or any(line.startswith(READY) for line in new_lines())

        until(ready, START_TIMEOUT_S, server.log)
        for line in new_lines():
            if line.startswith(READY):
                server.url = line.removeprefix(READY).strip()
        return server

    def work(self, folder: Path, *args: str, log: str = "log", **env: str) -> Server:
        """A worker without an API, once it has its lease. Raises AssertionError."""
        already = (folder / log).stat().st_size if (folder / log).exists() else 0
        server = self.start(folder, "--role", "worker", *args, log=log, **env)

        def started() -> bool:
            said = server.log_path.read_bytes()[already:]
            return server.poll() is not None or b"worker started" in said

        until(started, START_TIMEOUT_S, server.log)
        if server.poll() is not None:
            raise EndedEarlyError(f"ended with {server.code}:\n{server.log()}")
        return server

    def kill_all(self) -> None:
        for server in self._servers:
            with suppress(AssertionError):
                server.signal(signal.SIGCONT)
                server.kill()


@contextmanager
def processes() -> Iterator[Zygote]:
    """Something to start servers with, for the time of the block; then they are gone."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REELGATE_", "XAI_"))
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.zygote"],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    zygote = Zygote(process)
    try:
        yield zygote
    finally:
        zygote.kill_all()
        process.communicate()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until(
    there: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str] = lambda: ""
) -> None:
    """Wait until something is so. Raises AssertionError, with what `otherwise` says."""
    deadline = time.monotonic() + timeout_s
    while not there():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s\n{otherwise()[-4000:]}")
        time.sleep(LOOK_S)
