"""A real `reelgate serve` in a process of its own: what a user of the API meets.

Start one with `live_server`; `Live.account` opens an account with money and a key on it, as an
operator would from another shell.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from reelgate.app.parts import open_gateway
from reelgate.domain.money import parse_usd, usd
from reelgate.flows.accounts import create_account, create_key
from reelgate.flows.gateway import Gateway
from reelgate.flows.world import check_world
from reelgate.settings_load import load_settings
from reelgate.store.accounts import Limits
from reelgate.store.ledger import balance

T = TypeVar("T")

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 25.0
WAIT_S = 40

# What makes a gateway quick and open enough for tests; everything else is as shipped.
QUICK = {
    "REELGATE_PORT": "0",
    "REELGATE_POLL_INTERVAL_MS_MIN": "50",
    "REELGATE_POLL_INTERVAL_MS_MAX": "100",
    "REELGATE_SANDBOX_RENDERERS": "2",
    "REELGATE_ALLOW_HTTP_INPUTS": "true",
    "REELGATE_ALLOW_PRIVATE_INPUTS": "true",
}


@dataclass(frozen=True)
class Account:
    """An account of a running gateway and how to reach it."""

    id: str
    key: str
    http: httpx.Client
    live: Live

    def create(self, **fields: Any) -> dict[str, Any]:
        """A task by JSON; its answer. Text to video of one second unless the fields say else."""
        body = {"model": "grok-imagine", "prompt": "a boat", "duration": 1, **fields}
        given = {name: value for name, value in body.items() if value is not None}
        answer = self.http.post("/v1/videos", json=given)
        assert answer.status_code == 200, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def ended(self, task_id: str) -> dict[str, Any]:
        """The task when it has ended."""
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = self.http.get(f"/v1/videos/{task_id}", headers={"prefer": f"wait={WAIT_S}"})
            assert answer.status_code == 200, answer.text
            task: dict[str, Any] = answer.json()
            if task["status"] in {"completed", "failed"}:
                return task
            assert time.monotonic() < deadline, task

    def cancelled(self, task_id: str) -> dict[str, Any]:
        """The task, cancelled: the end of a `[sandbox:slow=600]` that has done its service."""
        answer = self.http.post(f"/v1/videos/{task_id}/cancel")
        assert answer.status_code == 200, answer.text
        task: dict[str, Any] = answer.json()
        return task

    def made(self, **fields: Any) -> dict[str, Any]:
        """A completed task of these fields."""
        task = self.ended(self.create(**fields)["id"])
        assert task["status"] == "completed", task
        return task

    def balance(self) -> tuple[str, str]:
        """(available, held) in USD, as the ledger has it."""
        return self.live.balance(self.id)

    def tasks(self) -> list[dict[str, Any]]:
        """The newest hundred tasks."""
        data: list[dict[str, Any]] = self.http.get("/v1/videos?limit=100").json()["data"]
        return data


@dataclass
class Live:
    """A gateway that answers at `url`."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    gateway: Gateway
    """The same data seen from this process: for an operator's work, not for the tests' own."""
    _runner: asyncio.Runner
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _clients: list[httpx.Client] = field(default_factory=list)

    def account(
        self, credit: str = "100", *, name: str = "", limits: Limits | None = None
    ) -> Account:
        """A new account with this much USD on it, and a client that has its key."""
        name = name or f"user-{os.getpid()}-{next(self._numbers)}"

        async def open_account() -> tuple[str, str]:
            account = await create_account(self.gateway, name, parse_usd(credit))
            key = await create_key(self.gateway, account.id, limits=limits)
            return account.id, key.secret

        account_id, key = self._runner.run(open_account())
        return Account(account_id, key, self.client(key), self)

    def client(self, key: str | None = None) -> httpx.Client:
        """A keep-alive HTTP client, with this key or none."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        client = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=WAIT_S + 10,
            trust_env=False,
            verify=False,  # there is no TLS here, and its certificates take a while to read
        )
        self._clients.append(client)
        return client

    def run(self, work: Callable[[Gateway], Coroutine[Any, Any, T]]) -> T:
        """Run a flow over the gateway's data, as an operator's command would."""
        return self._runner.run(work(self.gateway))

    def balance(self, account_id: str) -> tuple[str, str]:
        """(available, held) in USD."""
        found = self.run(lambda gateway: gateway.db.read(partial(balance, account_id=account_id)))
        assert found is not None
        return usd(found.available_micro), usd(found.held_micro)

    def log(self) -> str:
        """What the process has said so far."""
        return (self.folder / "log").read_text("utf-8")


@contextmanager
def live_server(folder: Path, **env: str) -> Iterator[Live]:
    """Serve from `folder` for the time of the block, then stop in order and check the world."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("REELGATE_", "XAI_"))},
        **QUICK,
        "REELGATE_DATA_DIR": str(folder / "data"),
        **env,
    }
    process, url = _start(folder, environment)
    try:
        settings = load_settings(environment, folder)
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            gateway = runner.run(stack.enter_async_context(open_gateway(settings)))
            live = Live(url, folder, process, gateway, runner)
            try:
                yield live
                _stop(process)
                assert process.returncode == 0, live.log()[-4000:]
                assert runner.run(check_world(gateway)) == []
                assert "Traceback" not in live.log(), live.log()[-8000:]
            finally:
                for client in live._clients:
                    client.close()
                runner.run(stack.aclose())
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _start(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "reelgate", "serve"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text("utf-8").splitlines():
            if line.startswith("reelgate is ready: "):
                return process, line.removeprefix("reelgate is ready: ")
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(f"the gateway did not start:\n{log.read_text('utf-8')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(STOP_TIMEOUT_S)
