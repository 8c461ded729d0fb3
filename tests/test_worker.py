"""The loop itself: what it survives, what it lets go of, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reelgate.domain.task import State
from reelgate.flows.upstreams import TokenBucket, Upstream
from reelgate.providers.base import Accepted, Pending, SubmitAnswer
from reelgate.store import leases
from reelgate.store.database import Database
from reelgate.store.postgres import PostgresDatabase
from reelgate.worker import Worker
from tests.support.fake_provider import FakeProvider
from tests.support.proxy import Cut, proxied
from tests.support.running import MODEL, Running, running
from tests.support.world import open_database

SOON_S = 10.0


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
def provider(film: bytes) -> FakeProvider:
    return FakeProvider(film=film)


def upstream_of(provider: FakeProvider) -> Upstream:
    return Upstream("fake", provider, {MODEL: "video"}, bucket=TokenBucket(1_000.0))


async def until(there: Callable[[], bool]) -> None:
    """Wait for something of this process; tests of other processes poll with `processes.until`."""
    async with asyncio.timeout(SOON_S):
        while not there():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def leased(gateway_db: Database) -> list[Any]:
    return await gateway_db.read(
        lambda tx: tx.all("SELECT id, lease_owner FROM task WHERE lease_owner IS NOT NULL")
    )


async def registered(live: Running) -> bool:
    """Whether the worker has its lease, once it has."""
    async with asyncio.timeout(SOON_S):
        db = live.gateway.db
        while live.worker._id not in await db.read(leases.everyone):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    return True


async def bury_everyone(db: Database) -> None:
    """What another node does to one that has stood still."""
    for worker_id in await db.read(leases.everyone):
        await db.write(partial(leases.bury, worker_id=worker_id, now_ms=10**15))


async def test_many_tasks_at_once_come_to_their_ends(
    db: Database, provider: FakeProvider, tmp_path: Path
) -> None:
    async with running(db, tmp_path, [upstream_of(provider)]) as live:
        made = await asyncio.gather(*(live.submit(f"boat {n}") for n in range(40)))
        ended = [await live.when(task) for task in made]
        assert {task.state for task in ended} == {State.COMPLETED}
        assert sorted(job.task_id for job in provider.jobs) == sorted(task.id for task in made)
        await until(lambda: live.worker.in_hand == 0)
    assert await leased(db) == []


@pytest.mark.parametrize("where", ["submit", "poll", "fetch"])
async def test_a_provider_that_breaks_down_harms_its_own_task_only(
    db: Database,
    provider: FakeProvider,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    monkeypatch.setattr("reelgate.worker._STORE_TROUBLE_MS", 5)
    queues: dict[str, Any] = {
        "submit": provider.on_submit,
        "poll": provider.on_poll,
        "fetch": provider.on_fetch,
    }
    queues[where].append(ZeroDivisionError("a bug"))
    async with running(db, tmp_path, [upstream_of(provider)]) as live:
        with caplog.at_level(logging.ERROR):
            first = await live.submit("one boat")
            hurt = await live.when(first, State.STRANDED, State.COMPLETED)
        expected = State.STRANDED if where == "submit" else State.COMPLETED
        assert hurt.state is expected
        assert any(record.exc_info for record in caplog.records)
        second = await live.when(await live.submit("another boat"))
        assert second.state is State.COMPLETED


async def test_a_lost_lease_drops_everything_and_begins_anew(
    db: Database, provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Polls go on under the new lease; what was being sent when it was lost is stranded."""
    never = asyncio.Event()

    async def hang() -> SubmitAnswer:
        await never.wait()
        return Accepted("never")

    provider.on_submit += [Accepted("a", poll_after_ms=1), hang]
    provider.on_poll += [Pending()] * 100_000
    async with running(db, tmp_path, [upstream_of(provider)], lease_ms=200) as live:
        polled = await live.when(await live.submit("polled"), State.RUNNING)
        sending = await live.when(await live.submit("sent"), State.SENDING)
        with caplog.at_level(logging.INFO):
            await bury_everyone(db)
            await until(lambda: "lease lost" in caplog.text)
            stranded = await live.when(sending, State.STRANDED)
            provider.on_poll.clear()
            done = await live.when(polled)
        assert (done.state, stranded.state) == (State.COMPLETED, State.STRANDED)
        assert done.epoch > polled.epoch
        assert [job.task_id for job in provider.jobs] == [polled.id, sending.id]


async def test_a_buried_worker_claims_nothing_under_its_old_name(
    db: Database, provider: FakeProvider, tmp_path: Path
) -> None:
    """Its lease is long: it does not know yet that it is buried."""
    async with running(db, tmp_path, [upstream_of(provider)], lease_ms=600_000) as live:
        await registered(live)
        await live.when(await live.submit("first"))
        await bury_everyone(db)
        late = await live.submit("late")
        await asyncio.sleep(0.3)
        assert (await live.look(late)).state is State.QUEUED
        assert await leased(db) == []


async def test_only_who_was_calm_for_a_lease_buries_others(
    db: Database, provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelgate.worker._BURY_MS", 20)
    async with running(db, tmp_path, [upstream_of(provider)], lease_ms=400) as live:
        began = time.monotonic()
        await registered(live)
        await db.write(partial(leases.register, worker_id="dead", now_ms=1, lease_until_ms=2))
        while "dead" in await db.read(leases.everyone):
            assert time.monotonic() - began < SOON_S
            await asyncio.sleep(0.01)
        assert time.monotonic() - began >= 0.4
        assert await registered(live)


# ---- stopping -----------------------------------------------------------------------------


@dataclass
class Working:
    """A worker that a test stops itself."""

    worker: Worker
    stop: asyncio.Event
    run: asyncio.Task[None]

    async def stopped(self) -> float:
        """Stop it; the seconds that took."""
        began = time.monotonic()
        self.stop.set()
        await self.run
        return time.monotonic() - began


async def working(live: Running, grace_s: float) -> Working:
    """One more worker on the same gateway, and the only one."""
    worker, stop = Worker(live.gateway), asyncio.Event()
    return Working(worker, stop, asyncio.create_task(worker.run(stop, grace_s)))


async def test_stopping_waits_for_the_answer_to_a_submit(
    db: Database, provider: FakeProvider, tmp_path: Path
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly() -> SubmitAnswer:
        asked.set()
        await answer.wait()
        return Accepted("slow", poll_after_ms=60_000)

    provider.on_submit.append(slowly)
    async with stopped_first(db, tmp_path, provider) as live:
        task = await live.submit()
        at_work = await working(live, grace_s=SOON_S)
        await asyncio.wait_for(asked.wait(), SOON_S)
        at_work.stop.set()
        await asyncio.sleep(0.05)
        assert not at_work.run.done()
        answer.set()
        await asyncio.wait_for(at_work.run, SOON_S)
        task = await live.look(task)
        assert (task.state, task.upstream_ref) == (State.RUNNING, "slow")
        assert await leased(db) == []


async def test_stopping_does_not_wait_for_what_only_waits(
    db: Database, provider: FakeProvider, tmp_path: Path
) -> None:
    provider.on_submit += [Accepted(f"{n}", poll_after_ms=60_000) for n in range(20)]
    async with stopped_first(db, tmp_path, provider) as live:
        made = [await live.submit(f"{n}") for n in range(20)]
        at_work = await working(live, grace_s=SOON_S)
        for task in made:
            await live.when(task, State.RUNNING)
        assert await at_work.stopped() < SOON_S / 2
        assert await leased(db) == []


async def test_stopping_gives_up_on_a_submit_at_its_limit(
    db: Database, provider: FakeProvider, tmp_path: Path
) -> None:
    """The next worker finds it `sending`, and does not send it again."""
    asked = asyncio.Event()

    async def hang() -> SubmitAnswer:
        asked.set()
        await asyncio.sleep(3_600)
        return Accepted("never")

    provider.on_submit.append(hang)
    async with stopped_first(db, tmp_path, provider) as live:
        task = await live.submit()
        at_work = await working(live, grace_s=0.2)
        await asyncio.wait_for(asked.wait(), SOON_S)
        assert await at_work.stopped() < SOON_S / 2
        assert (await live.look(task)).state is State.SENDING
        assert await leased(db) == []
        again = await working(live, grace_s=0.2)
        await live.when(task, State.STRANDED)
        await again.stopped()
        assert len(provider.jobs) == 1


async def test_stopping_in_the_middle_of_claims_leaves_nothing_leased(
    db: Database, provider: FakeProvider, tmp_path: Path
) -> None:
    async with stopped_first(db, tmp_path, provider) as live:
        made = [await live.submit(f"{n}") for n in range(30)]
        for n in range(12):
            at_work = await working(live, grace_s=SOON_S)
            await asyncio.sleep(0.004 * n)
            await at_work.stopped()
            assert await leased(db) == []
            assert await db.read(leases.everyone) == []
        last = await working(live, grace_s=SOON_S)
        assert {(await live.when(task)).state for task in made} == {State.COMPLETED}
        await last.stopped()
    assert sorted(job.task_id for job in provider.jobs) == sorted(task.id for task in made)


def stopped_first(
    db: Database, media: Path, provider: FakeProvider
) -> AbstractAsyncContextManager[Running]:
    """A gateway without a worker at work; the test brings its own."""
    return running(db, media, [upstream_of(provider)], at_work=False)


# ---- a claim whose COMMIT was unclear ------------------------------------------------------


async def test_what_an_unclear_claim_took_is_let_go_of(
    postgres_url: str,
    provider: FakeProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reelgate.worker._FORGOTTEN_MS", 50)
    with proxied(postgres_url) as proxy:
        near, far = PostgresDatabase(postgres_url), PostgresDatabase(proxy.url, threads=1)
        async with running(far, tmp_path, [upstream_of(provider)], lease_ms=600_000) as live:
            await live.when(await live.submit("first"))
            await until(lambda: live.worker.in_hand == 0)
            async with stopped_first(near, tmp_path, provider) as other:
                # The next commit of the worker is its claim.
                proxy.cut_commit(1, Cut.AFTER_COMMIT)
                task = await other.submit("second")
                done = await live.when(task)
        assert proxy.cuts == 1
        assert done.state is State.COMPLETED
        assert done.epoch >= 2
        assert len(provider.jobs) == 2
        await far.close()
        await near.close()
