"""One pace for all nodes, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from reelgate.domain.task import State
from reelgate.store import pacing, tasks
from reelgate.store.database import Database, Writer
from tests.support.world import World, open_database

NOW_MS = 1_700_000_000_000


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


async def enter(db: Database, now_ms: int, per_second: float = 4.0, in_flight_max: int = 99) -> int:
    return await db.write(
        partial(
            pacing.enter,
            upstream="up",
            per_second=per_second,
            in_flight_max=in_flight_max,
            now_ms=now_ms,
        )
    )


async def test_a_burst_of_a_second_and_then_evenly(db: Database) -> None:
    assert [await enter(db, NOW_MS) for _ in range(5)] == [0, 0, 0, 0, 251]
    assert await enter(db, NOW_MS + 249) > 0
    assert [await enter(db, NOW_MS + 250) for _ in range(2)] == [0, 251]
    assert [await enter(db, NOW_MS + 60_000) for _ in range(5)] == [0, 0, 0, 0, 251]


async def test_many_at_once_get_no_more_than_there_is(db: Database) -> None:
    waits = await asyncio.gather(*(enter(db, NOW_MS) for _ in range(60)))
    assert waits.count(0) == 4


async def test_a_slow_pace_lets_one_through(db: Database) -> None:
    assert [await enter(db, NOW_MS, 0.1) for _ in range(2)] == [0, 10_001]
    assert await enter(db, NOW_MS + 10_000, 0.1) == 0


async def test_each_upstream_has_its_own(db: Database) -> None:
    for name in ("a", "b"):
        take = partial(pacing.enter, upstream=name, per_second=1.0, in_flight_max=9, now_ms=NOW_MS)
        assert await db.write(take) == 0


async def test_a_clock_that_ran_ahead_blocks_nobody_for_long(db: Database) -> None:
    """A node with a clock an hour ahead took a turn and is gone."""
    assert await enter(db, NOW_MS + 3_600_000) == 0
    assert await enter(db, NOW_MS) == 0


async def test_what_is_undone_was_not_taken(db: Database) -> None:
    class UndoError(Exception):
        pass

    def undone(tx: Writer) -> None:
        pacing.enter(tx, "up", per_second=1.0, in_flight_max=9, now_ms=NOW_MS)
        raise UndoError

    with pytest.raises(UndoError):
        await db.write(undone)
    assert await enter(db, NOW_MS, 1.0) == 0


async def test_places_are_never_given_twice(world: World) -> None:
    """Thirty at once, of which each that gets a place is `sending` from then on."""
    sent = [await world.submit() for _ in range(30)]
    drives = [await world.claim(task) for task in sent]
    name = world.upstream.name

    def go(tx: Writer, number: int) -> bool:
        now_ms = world.clock.now_ms()
        if pacing.enter(tx, name, per_second=10_000.0, in_flight_max=7, now_ms=now_ms):
            return False
        moved = tasks.move(tx, drives[number].task, State.SENDING, now_ms, upstream=name)
        return moved is not None

    went = await asyncio.gather(
        *(world.gateway.db.write(partial(go, number=number)) for number in range(30))
    )
    assert went.count(True) == 7
    assert await world.gateway.db.read(partial(pacing.in_flight, upstream=name)) == 7
