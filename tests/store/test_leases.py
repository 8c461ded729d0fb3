"""Who has a task, and that whoever lost it can't write to it any more."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from reelgate.domain.lane import Lane
from reelgate.domain.task import State, Task
from reelgate.store import leases, tasks
from reelgate.store.database import Database, Writer
from tests.store.conftest import NOW_MS, insert_held, new_customer, new_task

LEASE_MS = 10_000


async def some_tasks(db: Database, count: int) -> list[Task]:
    def insert(tx: Writer) -> list[Task]:
        who = new_customer(tx, 100_000_000)
        return [insert_held(tx, new_task(who, f"{n}")) for n in range(count)]

    return await db.write(insert)


async def register(db: Database, worker_id: str, now_ms: int = NOW_MS) -> None:
    await db.write(
        partial(
            leases.register, worker_id=worker_id, now_ms=now_ms, lease_until_ms=now_ms + LEASE_MS
        )
    )


async def claim(db: Database, worker_id: str, lane: Lane, room: int = 1000) -> list[Task]:
    return await db.write(
        partial(
            leases.claim,
            worker_id=worker_id,
            now_ms=NOW_MS,
            room=room,
            sent=True,
            quotas={lane: room},
        )
    )


async def test_many_workers_share_the_tasks_and_none_gets_one_twice(fresh_db: Database) -> None:
    made = await some_tasks(fresh_db, 200)
    for n in range(4):
        await register(fresh_db, f"w{n}")
    claims = [claim(fresh_db, f"w{n % 4}", made[0].lane, 7) for n in range(40)]
    claimed = [task.id for batch in await asyncio.gather(*claims) for task in batch]
    assert sorted(claimed) == sorted(task.id for task in made)


async def test_the_dead_are_buried_once_their_lease_is_over(fresh_db: Database) -> None:
    made = await some_tasks(fresh_db, 3)
    await register(fresh_db, "dying")
    claimed = await claim(fresh_db, "dying", made[0].lane)
    assert len(claimed) == 3
    bury = partial(leases.bury, worker_id="dying")
    assert await fresh_db.write(partial(bury, now_ms=NOW_MS + LEASE_MS - 1)) == 0
    assert await fresh_db.read(partial(leases.dead, now_ms=NOW_MS + LEASE_MS)) == ["dying"]
    assert await fresh_db.write(partial(bury, now_ms=NOW_MS + LEASE_MS)) == 3
    assert await fresh_db.write(partial(bury, now_ms=NOW_MS + LEASE_MS)) == 0
    await register(fresh_db, "heir")
    assert len(await claim(fresh_db, "heir", made[0].lane)) == 3


async def test_a_renewed_lease_is_not_buried(fresh_db: Database) -> None:
    await register(fresh_db, "alive")
    renew = partial(leases.renew, worker_id="alive", lease_until_ms=NOW_MS + 3 * LEASE_MS)
    assert await fresh_db.write(renew)
    assert await fresh_db.read(partial(leases.dead, now_ms=NOW_MS + 2 * LEASE_MS)) == []


async def test_late_is_not_dead_until_somebody_says_so(fresh_db: Database) -> None:
    """A machine that slept goes on with what it had, when nobody took it over."""
    await register(fresh_db, "sleeper")
    renew = partial(leases.renew, worker_id="sleeper", lease_until_ms=NOW_MS + 9 * LEASE_MS)
    assert await fresh_db.read(partial(leases.dead, now_ms=NOW_MS + 5 * LEASE_MS)) == ["sleeper"]
    assert await fresh_db.write(renew)


@pytest.mark.parametrize("taken_over", [False, True])
async def test_the_buried_can_neither_renew_nor_claim_nor_write(
    fresh_db: Database, taken_over: bool
) -> None:
    made = await some_tasks(fresh_db, 2)
    await register(fresh_db, "zombie")
    (old, _) = await claim(fresh_db, "zombie", made[0].lane)
    await fresh_db.write(partial(leases.bury, worker_id="zombie", now_ms=NOW_MS + LEASE_MS))
    if taken_over:
        await register(fresh_db, "heir")
        assert len(await claim(fresh_db, "heir", made[0].lane)) == 2

    assert not await fresh_db.write(
        partial(leases.renew, worker_id="zombie", lease_until_ms=NOW_MS + 99 * LEASE_MS)
    )
    assert await claim(fresh_db, "zombie", made[0].lane) == []
    moved = await fresh_db.write(
        partial(tasks.move, task=old, after=State.SENDING, now_ms=NOW_MS, upstream="x")
    )
    noted = await fresh_db.write(partial(tasks.note_change, task=old, progress=5))
    assert (moved, noted) == (None, None)
    now = await fresh_db.read(partial(tasks.get, task_id=old.id))
    assert now is not None and (now.state, now.progress, now.upstream) == (State.QUEUED, 0, None)


async def test_signing_off_hands_everything_back_at_once(fresh_db: Database) -> None:
    made = await some_tasks(fresh_db, 5)
    await register(fresh_db, "leaving")
    await claim(fresh_db, "leaving", made[0].lane)
    await fresh_db.write(partial(leases.sign_off, worker_id="leaving"))
    await register(fresh_db, "next")
    assert len(await claim(fresh_db, "next", made[0].lane)) == 5


async def test_a_claim_that_races_with_signing_off_leaves_no_task_behind(
    fresh_db: Database,
) -> None:
    """Whichever comes first, nothing is leased to a worker that is gone."""
    made = await some_tasks(fresh_db, 30)
    for n in range(10):
        await register(fresh_db, f"w{n}")
        await asyncio.gather(
            claim(fresh_db, f"w{n}", made[0].lane, 30),
            fresh_db.write(partial(leases.sign_off, worker_id=f"w{n}")),
            claim(fresh_db, f"w{n}", made[0].lane, 30),
        )
        assert await fresh_db.read(partial(tasks.leased_by, worker_id=f"w{n}")) == set()


async def test_what_was_sent_is_claimed_before_what_was_not(fresh_db: Database) -> None:
    made = await some_tasks(fresh_db, 3)
    await register(fresh_db, "first")
    (mine, *_) = await claim(fresh_db, "first", made[0].lane)
    await fresh_db.write(
        partial(tasks.move, task=mine, after=State.SENDING, now_ms=NOW_MS, upstream="x")
    )
    await fresh_db.write(partial(leases.sign_off, worker_id="first"))
    await register(fresh_db, "second")
    assert [task.id for task in await claim(fresh_db, "second", made[0].lane, 1)] == [mine.id]
