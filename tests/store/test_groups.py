"""Transactions that share a COMMIT: what one of them does wrong is its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from reelgate.domain.errors import StorageFull, StoreError, StoreUnavailable
from reelgate.store import accounts
from reelgate.store.database import ConstraintBroken, Database, Reader, Writer
from tests.store.conftest import new_customer
from tests.support.world import open_database


class Mine(Exception):
    """Something a store function may raise."""


def put(name: str) -> Callable[[Writer], str]:
    def write(tx: Writer) -> str:
        return accounts.set_meta_once(tx, name, "here")

    return write


def put_and_raise(name: str, error: Exception) -> Callable[[Writer], str]:
    def write(tx: Writer) -> str:
        put(name)(tx)
        raise error

    return write


def put_and_break(name: str) -> Callable[[Writer], str]:
    def write(tx: Writer) -> str:
        put(name)(tx)
        tx.run("INSERT INTO meta (name, value) VALUES (?, 'again')", (name,))
        return name

    return write


def put_and_stumble(name: str) -> Callable[[Writer], str]:
    def write(tx: Writer) -> str:
        put(name)(tx)
        tx.run("SELECT nothing FROM nowhere")
        return name

    return write


async def names(db: Database) -> set[str]:
    rows = await db.read(lambda tx: tx.all("SELECT name FROM meta"))
    return {row[0] for row in rows}


async def test_one_that_fails_takes_nobody_along(fresh_db: Database) -> None:
    """Whether they were grouped or not, and however they fail."""
    work: list[Callable[[Writer], str]] = []
    for n in range(60):
        work += [
            put(f"good {n}"),
            put_and_raise(f"raises {n}", Mine()),
            put_and_break(f"breaks {n}"),
            put_and_stumble(f"stumbles {n}"),
        ]
    results = await asyncio.gather(*map(fresh_db.write, work), return_exceptions=True)
    for n in range(60):
        good, raises, breaks, stumbles = results[4 * n : 4 * n + 4]
        assert good == "here"
        assert isinstance(raises, Mine)
        assert isinstance(breaks, ConstraintBroken)
        assert isinstance(stumbles, StoreError)
    assert await names(fresh_db) == {f"good {n}" for n in range(60)}


async def test_what_was_written_is_there_when_the_write_returns(db: Database) -> None:
    for n in range(20):
        await db.write(put(f"seen {n}"))
        assert await db.point(partial(accounts.get_meta, name=f"seen {n}")) == "here"


async def test_a_waiter_that_goes_away_does_not_undo_what_is_written(db: Database) -> None:
    waiters = [asyncio.create_task(db.write(put(f"left {n}"))) for n in range(10)]
    await asyncio.sleep(0)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    await db.write(put("stayed"))
    for _ in range(200):
        if {f"left {n}" for n in range(10)} <= await names(db):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what had been handed over was not written")


async def test_every_commit_of_sqlite_is_synced(sqlite_url: str) -> None:
    """With less than FULL a power cut loses commits that were answered."""
    db = open_database(sqlite_url)

    def pragmas(tx: Writer) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [tx.one(f"PRAGMA {name}") for name in names]

    assert await db.write(pragmas) == [("wal",), (2,), (1,)]
    await db.close()


@pytest.mark.parametrize("how", ["read", "point"])
async def test_readers_can_not_write(db: Database, how: str) -> None:
    who = await db.write(new_customer)

    def cheat(tx: Any) -> None:
        tx.run("UPDATE account SET name = 'x' WHERE id = ?", (who.id,))

    if how == "point" and db.shared:
        return  # PostgreSQL's point read is whatever is cheapest, and trusted
    with pytest.raises(StoreError):
        await getattr(db, how)(cheat)


async def test_a_read_sees_one_moment(db: Database) -> None:
    """However much is written meanwhile."""
    looked, written = threading.Event(), threading.Event()

    def look_twice(tx: Reader) -> tuple[str | None, str | None]:
        first = accounts.get_meta(tx, "meanwhile")
        looked.set()
        assert written.wait(10)
        return first, accounts.get_meta(tx, "meanwhile")

    looking = asyncio.create_task(db.read(look_twice))
    await asyncio.to_thread(looked.wait, 10)
    await db.write(put("meanwhile"))
    written.set()
    assert await looking == (None, None)
    assert await db.read(lambda tx: accounts.get_meta(tx, "meanwhile")) == "here"


async def test_after_closing_there_is_a_word_for_it(database_url: str) -> None:
    database = open_database(database_url)
    await database.write(put("before"))
    await database.close()
    await database.close()
    with pytest.raises(StoreUnavailable):
        await database.write(put("after"))
    with pytest.raises(StoreUnavailable):
        await database.read(accounts.list_accounts)


@pytest.mark.parametrize("pause_s", [0, 0.0002, 0.001, 0.003])
def test_an_event_loop_may_end_in_mid_group(sqlite_url: str, pause_s: float) -> None:
    database = open_database(sqlite_url)

    async def leave() -> None:
        for n in range(20):
            left.add(asyncio.create_task(database.write(put(f"left {n}"))))
        await asyncio.sleep(pause_s)

    left: set[asyncio.Task[str]] = set()
    asyncio.run(leave())
    assert asyncio.run(database.write(put("after"))) == "here"
    assert "after" in asyncio.run(names(database))
    asyncio.run(database.close())


# ---- a full disk (SQLite; the server's own is the server's business) ------------------------


async def test_a_full_disk_is_told_and_got_over(sqlite_url: str) -> None:
    database = open_database(sqlite_url)

    def limit_pages(more: int) -> Callable[[Writer], None]:
        def limit(tx: Writer) -> None:
            pages = tx.one("PRAGMA page_count")
            assert pages is not None
            tx.one(f"PRAGMA max_page_count = {pages[0] + more}")

        return limit

    def put_much(tx: Writer) -> str:
        return accounts.set_meta_once(tx, "much", "x" * 1_000_000)

    await database.write(put("before"))
    await database.write(limit_pages(2))
    with pytest.raises(StorageFull):
        await database.write(put_much)
    results = await asyncio.gather(
        *(database.write(put_much) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, StorageFull) for result in results)
    assert await names(database) == {"before"}
    await database.write(limit_pages(10_000))
    await database.write(put_much)
    assert await names(database) == {"before", "much"}
    await database.close()
