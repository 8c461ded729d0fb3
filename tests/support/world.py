"""A gateway with a fake upstream and a clock that only tests move: whole lives of tasks, at once.

The database, the media store and every flow are the real ones; what is missing is the event
loop's time. `World.live` drives a task like the worker does and moves the clock instead of waiting.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from reelgate.catalog import MODELS
from reelgate.domain.clock import ManualClock
from reelgate.domain.money import MICRO_PER_USD
from reelgate.domain.order import Draft, MediaDraft
from reelgate.domain.task import State, Task
from reelgate.flows import accounts, advance
from reelgate.flows.drive import Drive
from reelgate.flows.gateway import Caller, Gateway, Policy
from reelgate.flows.submit import Repeatable, Submitted, submit
from reelgate.flows.upstreams import Breaker, TokenBucket, Upstream, Upstreams
from reelgate.flows.world import check_world
from reelgate.media.disk import DiskStore
from reelgate.net.guard import Guard
from reelgate.net.guard import Policy as GuardPolicy
from reelgate.store import leases, ledger, settlements, tasks
from reelgate.store.database import Database
from reelgate.store.postgres import PostgresDatabase
from reelgate.store.settlements import Settlement
from reelgate.store.sqlite import SqliteDatabase
from tests.support.fake_provider import FakeProvider

MODEL = "grok-imagine"
CREDIT_MICRO = 100 * MICRO_PER_USD
STEPS_MAX = 400


class TakenError(AssertionError):
    """A task that was to be claimed is leased, or locked by a transaction that is still open."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A database and a folder for bytes, shared by the tests of a module."""

    db: Database
    media_root: Path
    film: bytes


def open_database(url: str) -> Database:
    """The database that a URL names, migrated."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return PostgresDatabase(url, threads=4)


@dataclass(slots=True)
class World:
    """One test's account, upstream and worker in an installation."""

    gateway: Gateway
    clock: ManualClock
    provider: FakeProvider
    upstream: Upstream
    caller: Caller
    worker_id: str
    drives: dict[str, Drive] = field(default_factory=dict)

    # ---- what a customer does -------------------------------------------------------------

    def draft(self, prompt: str = "A paper boat", seconds: int | None = 2, **fields: Any) -> Draft:
        """A text-to-video request, unless `fields` say otherwise."""
        return Draft(**{"model": MODEL, "prompt": prompt, "seconds": seconds, **fields})

    async def submitted(self, draft: Draft, **repeatable: Any) -> Submitted:
        return await submit(self.gateway, self.caller, draft, [], Repeatable(**repeatable))

    async def submit(
        self, prompt: str = "A paper boat", seconds: int | None = 2, **fields: Any
    ) -> Task:
        return (await self.submitted(self.draft(prompt, seconds, **fields))).task

    async def balance(self) -> tuple[int, int]:
        """(available, held) in micro-USD."""
        account_id = self.caller.account_id
        found = await self.gateway.db.read(lambda tx: ledger.balance(tx, account_id))
        assert found is not None
        return found.available_micro, found.held_micro

    # ---- what the worker does -------------------------------------------------------------

    async def claim(self, task: Task) -> Drive:
        """Take a task in hand as this world's worker; others that are due stay as they are."""
        drive = Drive(await self.claimed(task, self.worker_id))
        self.drives[task.id] = drive
        return drive

    async def claimed(self, task: Task, worker_id: str) -> Task:
        """The task under a new lease of a worker."""
        now_ms = self.clock.now_ms()
        await self.gateway.db.write(partial(_lease, worker_id=worker_id, now_ms=now_ms))
        for lane in ((await self.look(task)).lane, None):
            found = await self.gateway.db.write(
                partial(
                    tasks.claim,
                    worker_id=worker_id,
                    now_ms=now_ms,
                    limit=10_000,
                    lane=lane,
                )
            )
            strange = [other.id for other in found if other.id != task.id]
            if strange:
                await self.gateway.db.write(
                    partial(tasks.let_go, worker_id=worker_id, task_ids=strange)
                )
            mine = [other for other in found if other.id == task.id]
            if mine:
                return mine[0]
        raise TakenError(f"{task.id} can't be claimed")

    async def step(self, task: Task) -> int | None:
        """One step of a task that is in hand."""
        return await advance.step(self.gateway, self.drives[task.id])

    async def live(self, task: Task, until: Callable[[Task], bool] | State | None = None) -> Task:
        """Drive a task, moving the clock over every wait, to its end or as far as said."""
        for _ in range(STEPS_MAX):
            now = await self.look(task)
            if now.ended or _reached(now, until):
                return now
            if task.id not in self.drives:
                self.clock.advance_ms(self._until_claim_ms(now))
                await self.claim(task)
            wait_ms = await self.step(task)
            if wait_ms is None:
                self.drives.pop(task.id).release()
            else:
                self.clock.advance_ms(wait_ms)
        raise AssertionError(f"{task.id} has not come to its end: {await self.look(task)}")

    def _until_claim_ms(self, task: Task) -> int:
        """A worker takes a queued task when it can be sent, or its time is up."""
        now_ms = self.clock.now_ms()
        queued = task.state is State.QUEUED
        place_ms = self.gateway.upstreams.wait_ms([task.lane]) if queued else 0
        return max(0, min(place_ms, task.deadline_at_ms - now_ms), task.due_at_ms - now_ms)

    def crash(self) -> None:
        """Forget what was in hand, as a killed process does."""
        for drive in self.drives.values():
            drive.release()
        self.drives.clear()

    async def restart(self) -> None:
        """Another worker after a crash: what the dead one had can be claimed again."""
        self.crash()
        dead, self.worker_id = self.worker_id, f"worker_{secrets.token_hex(6)}"
        await self.gateway.db.write(lambda tx: leases.sign_off(tx, dead))

    # ---- what can be seen -----------------------------------------------------------------

    async def look(self, task: Task) -> Task:
        found = await self.gateway.db.point(partial(tasks.get, task_id=task.id))
        assert found is not None
        return found

    async def path(self, task: Task) -> list[State]:
        """Every state that a task has been in."""
        moves = await self.gateway.db.read(partial(tasks.history, task_id=task.id))
        return [State.QUEUED, *(State(to) for _, _, to, _ in moves)]

    async def settlement(self, task: Task) -> Settlement | None:
        return await self.gateway.db.read(partial(settlements.get, task_id=task.id))

    async def entries(self, task: Task) -> list[tuple[str, int]]:
        """(kind, micro-USD) of every ledger row of a task."""
        rows = await self.gateway.db.read(partial(ledger.of_task, task_id=task.id))
        return [(row.kind, row.amount_micro) for row in rows]

    async def broken(self) -> list[str]:
        """What `check_world` finds."""
        return await check_world(self.gateway)


def _lease(tx: Any, worker_id: str, now_ms: int) -> None:
    if worker_id not in leases.everyone(tx):
        leases.register(tx, worker_id, now_ms, now_ms + 10**12)


def _reached(task: Task, until: Callable[[Task], bool] | State | None) -> bool:
    return until(task) if callable(until) else task.state is until


async def new_world(installation: Installation, policy: Policy | None = None) -> World:
    """A world with an account of its own, that has 100 USD."""
    clock = ManualClock()
    provider = FakeProvider(film=installation.film)
    upstream = new_upstream(provider, clock)
    gateway = Gateway(
        db=installation.db,
        clock=clock,
        models=MODELS,
        media=DiskStore(installation.media_root),
        upstreams=Upstreams([upstream]),
        guard=Guard(GuardPolicy(allow_http=True, allow_private_network=True, ports=None)),
        secret=b"0" * 32,
        policy=policy or Policy(),
    )
    account = await accounts.create_account(gateway, secrets.token_hex(8), CREDIT_MICRO)
    made = await accounts.create_key(gateway, account.id)
    worker_id = f"worker_{secrets.token_hex(6)}"
    return World(gateway, clock, provider, upstream, Caller(account.id, made.key), worker_id)


def new_upstream(provider: FakeProvider, clock: ManualClock, **fields: Any) -> Upstream:
    """An upstream without limits whose sense of time is the test's."""

    def seconds() -> float:
        return clock.now_ms() / 1000

    return Upstream(
        **{
            "name": f"fake-{secrets.token_hex(6)}",
            "provider": provider,
            "models": {MODEL: "fake-video"},
            "bucket": TokenBucket(1_000_000.0, seconds),
            "breaker": Breaker(seconds),
            **fields,
        }
    )


def with_policy(world: World, **changes: Any) -> World:
    """The same world under other numbers."""
    world.gateway = replace(world.gateway, policy=replace(world.gateway.policy, **changes))
    return world


def picture(data: bytes, param: str = "image") -> MediaDraft:
    """An uploaded picture or clip."""
    return MediaDraft(param=param, data=data)
