"""One pace for all nodes, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from reelgate.domain.task import State
from reelgate.store import pacing, tasks
from reelgate.store.database import Database, Writer
from reelgate.store.postgres import PostgresDatabase
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


async def test_many_nodes_at_once_get_no_more_than_there_is(postgres_url: str) -> None:
    async with nodes(postgres_url) as all_nodes:
        for second in range(0, 100, 10):
            now_ms = NOW_MS + second * 1000
            asked = [enter(node, now_ms) for node in all_nodes for _ in range(5)]
            assert (await asyncio.gather(*asked)).count(0) == 4


@asynccontextmanager
async def nodes(url: str) -> AsyncIterator[list[Database]]:
    """Processes on one database, as far as it can tell: each commits by itself."""
    found: list[Database] = [PostgresDatabase(url, threads=1, group_max=1) for _ in range(6)]
    try:
        yield found
    finally:
        for node in found:
            await node.close()


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
    """Tasks of many nodes, of which each that gets a place is `sending` from then on."""
    if not isinstance(world.gateway.db, PostgresDatabase):
        pytest.skip("one SQLite file has one worker")
    made = [await world.submit() for _ in range(30)]
    drives = [await world.claim(task) for task in made]
    name, now_ms = world.upstream.name, world.clock.now_ms()

    def go(tx: Writer, number: int) -> bool:
        if pacing.enter(tx, name, per_second=10_000.0, in_flight_max=7, now_ms=now_ms):
            return False
        moved = tasks.move(tx, drives[number].task, State.SENDING, now_ms, upstream=name)
        return moved is not None

    async with nodes(world.gateway.db._url) as all_nodes:
        went = await asyncio.gather(
            *(all_nodes[number % 6].write(partial(go, number=number)) for number in range(30))
        )
    assert went.count(True) == 7
    assert await world.gateway.db.read(partial(pacing.in_flight, upstream=name)) == 7
