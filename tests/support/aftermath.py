"""What must be so after any crash, whatever was going on: looked at while no server runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from reelgate.app.parts import open_gateway
from reelgate.domain.money import MICRO_PER_USD
from reelgate.domain.task import State, Task
from reelgate.flows.accounts import create_account, create_key
from reelgate.flows.gateway import Gateway
from reelgate.flows.world import check_world
from reelgate.providers.sandbox.jobs import submits
from reelgate.settings_load import load_settings
from reelgate.store import tasks
from tests.support.live import QUICK

T = TypeVar("T")
CREDIT_MICRO = 1_000 * MICRO_PER_USD
PAGE = 5_000


def server_env(folder: Path, **env: str) -> dict[str, str]:
    """The environment of every process that belongs to a server's folder."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("REELGATE_", "XAI_"))}
    return {**given, **QUICK, "REELGATE_DATA_DIR": str(folder / "data"), **env}


def over(folder: Path, work: Callable[[Gateway], Awaitable[T]], **env: str) -> T:
    """Do something with the gateway of a server's folder, in this process."""

    async def run() -> T:
        async with open_gateway(load_settings(server_env(folder, **env), folder)) as gateway:
            return await work(gateway)

    return asyncio.run(run())


def open_account(folder: Path, name: str = "customer", **env: str) -> tuple[str, str]:
    """(account id, key) of a new customer with 1000 USD."""

    async def make(gateway: Gateway) -> tuple[str, str]:
        account = await create_account(gateway, name, CREDIT_MICRO)
        return account.id, (await create_key(gateway, account.id)).secret

    return over(folder, make, **env)


def end_the_unclear_soon(folder: Path, **env: str) -> int:
    """Let the deadline of tasks whose submit has an unknown outcome be now; returns how many.

    It is what ends them.
    """

    async def hurry(gateway: Gateway) -> int:
        return await gateway.db.write(
            lambda tx: tx.run(
                "UPDATE task SET deadline_at_ms = ? WHERE state IN ('sending', 'stranded')",
                (gateway.clock.now_ms(),),
            )
        )

    return over(folder, hurry, **env)


def expire_all_results(folder: Path, **env: str) -> None:
    """Let every result be past its time."""

    async def age(gateway: Gateway) -> int:
        return await gateway.db.write(
            lambda tx: tx.run("UPDATE task SET expires_at_ms = 1 WHERE state = 'completed'")
        )

    over(folder, age, **env)


def all_tasks(folder: Path, **env: str) -> list[Task]:
    """Every task there is, the oldest first."""

    async def look(gateway: Gateway) -> list[Task]:
        return await gateway.db.read(
            partial(tasks.page, account_id=None, after=None, limit=PAGE, newest_first=False)
        )

    return over(folder, look, **env)


def wrongs(folder: Path, **env: str) -> list[str]:
    """Everything that is not as it must be; no server may be running, and all tasks be ended."""
    wrong = over(folder, check_world, **env)
    found = all_tasks(folder, **env)
    wrong += [f"{task.id} is {task.state}" for task in found if not task.ended]
    sent = submits(folder / "data" / "sandbox")
    wrong += [f"{task_id} was sent {times} times" for task_id, times in sent.items() if times > 1]
    # The free ones aside, nothing runs that was not sent.
    wrong += [
        f"{task.id} is completed but was never sent"
        for task in found
        if task.state is State.COMPLETED and not sent[task.id]
    ]
    return wrong
