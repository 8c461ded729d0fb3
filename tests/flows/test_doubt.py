"""The connection to the database breaks around a COMMIT, at every one of a task's life in turn.

Nobody is told then whether the transaction happened. A whole life must come to the same end all
the same: one task, one hold, one job, one settlement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reelgate.domain.errors import StoreError
from reelgate.domain.task import State, Task
from reelgate.flows import drive as driving
from reelgate.flows import submit as submitting
from reelgate.flows.drive import Drive
from reelgate.flows.submit import Submitted
from reelgate.store import tasks
from reelgate.store.database import CommitUnknown
from reelgate.store.postgres import PostgresDatabase
from tests.support.postgres import fresh_database
from tests.support.proxy import Cut, Proxy, proxied
from tests.support.world import Installation, TakenError, World, new_world, picture

# Commits of a plain life: submit, lease, claim, pace, sending, running, collecting, end.
COMMITS = 8
STEPS_MAX = 60
OVER_S = 10
PAID = [("hold", 100_000), ("capture", 100_000)]


@pytest.fixture(scope="module")
def shared_url(postgres_server: str) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture
def proxy(shared_url: str) -> Iterator[Proxy]:
    with proxied(shared_url) as between:
        yield between


@pytest.fixture
async def far(
    proxy: Proxy, media: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A world whose database is behind the proxy; what is asked again is asked at once."""
    monkeypatch.setattr(driving, "_RECORD_RETRY_MS", 1)
    monkeypatch.setattr(submitting, "_DOUBT_PAUSES_S", (0, 0, 0))
    db = PostgresDatabase(proxy.url, threads=1)
    world = await new_world(Installation(db, media, film))
    yield world
    assert await world.broken() == []
    await world.gateway.guard.close()
    await db.close()


async def live(world: World, task: Task) -> Task:
    """Drive a task as the worker does when the store gives trouble: log it, and step again."""
    drive: Drive | None = None
    for _ in range(STEPS_MAX):
        task = await world.look(task)
        if task.ended:
            return task
        try:
            if drive is None:
                drive = await claim(world, task)
            wait_ms = await world.step(drive.task)
        except StoreError:
            wait_ms = 1_000
        if wait_ms is None:
            drive = None
        world.clock.advance_ms(wait_ms or 0)
    raise AssertionError(f"not at its end: {task}")


async def claim(world: World, task: Task) -> Drive:
    """A claim that may have happened is undone first: the worker lets go of what it forgot.

    The server may need a moment to see that a connection, and its transaction, is over.
    """
    worker_id = world.worker_id
    async with asyncio.timeout(OVER_S):
        while True:
            await world.gateway.db.write(lambda tx: tasks.let_go(tx, worker_id, [task.id]))
            with suppress(TakenError):
                return await world.claim(task)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("nth", range(1, COMMITS + 1))
async def test_a_life_with_one_unclear_commit_is_like_any_other(
    far: World, proxy: Proxy, cut: Cut, nth: int
) -> None:
    proxy.cut_commit(nth, cut)
    task = await live(far, await far.submit())
    assert proxy.cuts == 1, "there are fewer commits than this in a life: adapt COMMITS"
    assert task.state is State.COMPLETED
    assert [job.task_id for job in far.provider.jobs] == [task.id]
    assert await far.entries(task) == PAID


@pytest.mark.parametrize("cut", Cut)
async def test_a_create_in_doubt_is_looked_into_and_answered(
    far: World, proxy: Proxy, cut: Cut, png: bytes
) -> None:
    proxy.cut_commit(1, cut)
    made = await far.submitted(far.draft(image=picture(png)), idempotency_key="key")
    assert proxy.cuts == 1
    assert not made.replayed
    assert await far.look(made.task) == made.task
    (image,) = made.task.order.images
    assert await far.gateway.media.read(image.key or "") == png
    again = await far.submitted(far.draft(image=picture(png)), idempotency_key="key")
    assert again == Submitted(made.task, replayed=True)


@pytest.mark.parametrize("cut", Cut)
async def test_a_doubt_that_can_not_be_cleared_is_told(far: World, proxy: Proxy, cut: Cut) -> None:
    """The database stays away: the caller must not be told that nothing was created."""
    proxy.cut_commit(1, cut, then_refuse=True)
    with pytest.raises(CommitUnknown):
        await far.submit()
    proxy.accepts = True
    available, held = await far.balance()
    assert (available + held, held) == (100_000_000, 100_000 if cut is Cut.AFTER_COMMIT else 0)


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("nth", range(1, 5))
async def test_the_end_of_a_stranded_task_is_booked_once(
    far: World, proxy: Proxy, cut: Cut, nth: int
) -> None:
    """Claims, and the settlement with its loss."""
    far.provider.on_submit.append(TimeoutError())
    task = await far.live(await far.submit(), until=State.STRANDED)
    await far.restart()
    far.clock.advance_ms(task.deadline_at_ms - far.clock.now_ms())
    proxy.cut_commit(nth, cut)
    task = await live(far, task)
    assert (task.state, len(far.provider.jobs)) == (State.FAILED, 1)
    assert await far.entries(task) == [
        ("hold", 100_000),
        ("release", 100_000),
        ("adjust", 100_000),
    ]
