"""A gateway whose worker runs, in this process and in real time: with upstreams of the test's own.

Waits that are minutes in real life are milliseconds here; everything else is as shipped.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reelgate.catalog import MODELS
from reelgate.domain.clock import SystemClock
from reelgate.domain.model import ModelSpec
from reelgate.domain.money import MICRO_PER_USD
from reelgate.domain.order import Draft
from reelgate.domain.task import State, Task
from reelgate.flows import accounts
from reelgate.flows.gateway import Caller, Gateway, Policy
from reelgate.flows.submit import Repeatable, submit
from reelgate.flows.upstreams import Upstream, Upstreams
from reelgate.flows.world import check_world
from reelgate.media.disk import DiskStore
from reelgate.net.guard import Guard
from reelgate.net.guard import Policy as GuardPolicy
from reelgate.net.stream import Limits
from reelgate.store import tasks
from reelgate.store.database import Database
from reelgate.worker import Worker

MODEL = "grok-imagine"
CREDIT_MICRO = 100_000 * MICRO_PER_USD
WAIT_S = 40
GRACE_S = 0.2
LIMITS = Limits()


@dataclass
class Running:
    """A gateway at work and a customer of it."""

    gateway: Gateway
    caller: Caller
    worker: Worker

    async def submit(
        self, prompt: str = "A paper boat", seconds: int | None = 2, **fields: Any
    ) -> Task:
        draft = Draft(**{"model": MODEL, "prompt": prompt, "seconds": seconds, **fields})
        return (await submit(self.gateway, self.caller, draft, [], Repeatable())).task

    async def look(self, task: Task) -> Task:
        found = await self.gateway.db.point(partial(tasks.get, task_id=task.id))
        assert found is not None
        return found

    async def when(self, task: Task, *states: State) -> Task:
        """The task once it is in one of these states; in its end when none is named."""
        event = self.gateway.watch.subscribe(task.id)
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    now = await self.look(task)
                    if now.state in states or (not states and now.ended):
                        return now
                    event.clear()
                    await event.wait()
        except TimeoutError:
            raise AssertionError(
                f"still not {states or 'ended'}: {await self.look(task)}"
            ) from None
        finally:
            self.gateway.watch.unsubscribe(task.id, event)

    async def path(self, task: Task) -> list[State]:
        """Every state that a task has been in."""
        moves = await self.gateway.db.read(partial(tasks.history, task_id=task.id))
        return [State.QUEUED, *(State(to) for _, _, to, _ in moves)]


async def until(happened: Callable[[], Awaitable[bool] | bool]) -> None:
    """Return once it has happened. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = happened()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)


def impatient(spec: ModelSpec) -> ModelSpec:
    """The model with jobs that are usually done at once."""
    return replace(
        spec,
        operations={
            name: replace(row, usual_ms=20, poll_ms=20) for name, row in spec.operations.items()
        },
    )


def loopback_guard() -> Guard:
    """A guard that may fetch from the test's own servers."""
    policy = GuardPolicy(allow_http=True, allow_private_network=True, ports=None, limits=LIMITS)
    return Guard(policy)


@asynccontextmanager
async def running(
    db: Database,
    media: Path,
    upstreams: Iterable[Upstream],
    *,
    at_work: bool = True,
    **policy: Any,
) -> AsyncIterator[Running]:
    """For the time of the block; afterwards the worker has stopped and the books are right.

    `at_work` False: there is a worker, but it does not run.
    """
    gateway = Gateway(
        db=db,
        clock=SystemClock(),
        models={name: impatient(spec) for name, spec in MODELS.items()},
        media=DiskStore(media),
        upstreams=Upstreams(upstreams),
        guard=loopback_guard(),
        secret=b"0" * 32,
        policy=Policy(**{"poll_ms_min": 20, "poll_ms_max": 40, **policy}),
    )
    account = await accounts.create_account(gateway, secrets.token_hex(8), CREDIT_MICRO)
    key = await accounts.create_key(gateway, account.id)
    worker, stop = Worker(gateway), asyncio.Event()
    working = asyncio.create_task(worker.run(stop, GRACE_S)) if at_work else None
    try:
        yield Running(gateway, Caller(account.id, key.key), worker)
    finally:
        stop.set()
        if working is not None:
            await working
        await gateway.guard.close()
    assert await check_world(gateway) == []
