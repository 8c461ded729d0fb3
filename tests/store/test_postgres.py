"""What a PostgreSQL may do to us: end connections, restart, find deadlocks, leave us in doubt."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial

import psycopg
import pytest

from reelgate.domain.errors import StoreUnavailable
from reelgate.store import accounts, ledger
from reelgate.store import postgres as postgres_module
from reelgate.store.database import CHANGED, WAKE, CommitUnknown, Writer
from reelgate.store.postgres import PostgresDatabase
from tests.store.conftest import NOW_MS, Customer, new_customer
from tests.support.postgres import restartable_postgres
from tests.support.proxy import Cut, Proxy, proxied

SOON_S = 10.0


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(postgres_url, threads=3)
    yield database
    await database.close()


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    with proxied(postgres_url) as between:
        yield between


@pytest.fixture
async def far_db(proxy: Proxy) -> AsyncIterator[PostgresDatabase]:
    """The database behind the proxy, over one connection."""
    database = PostgresDatabase(proxy.url, threads=1)
    yield database
    await database.close()


def put(tx: Writer, name: str) -> str:
    return accounts.set_meta_once(tx, name, "here")


async def is_there(db: PostgresDatabase, name: str) -> bool:
    return await db.read(partial(accounts.get_meta, name=name)) is not None


def end_all_connections(url: str) -> int:
    """What an administrator, a failover or a proxy's idle limit does."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_connection_that_ended_while_idle_is_replaced_unnoticed(
    db: PostgresDatabase, postgres_url: str
) -> None:
    for n in range(5):
        await asyncio.gather(*(db.write(partial(put, name=f"{n}.{m}")) for m in range(6)))
        assert await is_there(db, f"{n}.0")
        assert end_all_connections(postgres_url) >= 1


async def test_a_connection_that_ends_in_mid_transaction_is_replaced_and_the_work_done_again(
    db: PostgresDatabase, postgres_url: str
) -> None:
    who = await db.write(partial(new_customer, credit_micro=10))
    runs = 0

    def take(tx: Writer) -> bool:
        nonlocal runs
        runs += 1
        assert ledger.hold(tx, who.id, "task", 4, NOW_MS)
        if runs == 1:
            end_all_connections(postgres_url)
        return ledger.hold(tx, who.id, "task", 2, NOW_MS)

    assert await db.write(take)
    assert runs == 2
    balance = await db.read(partial(ledger.balance, account_id=who.id))
    assert balance == ledger.Balance(available_micro=4, held_micro=6)


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("together", [1, 5])
async def test_a_commit_whose_answer_is_lost_is_told_as_unknown(
    proxy: Proxy, far_db: PostgresDatabase, cut: Cut, together: int
) -> None:
    """It may have happened or not; what is not allowed is to say that it did not."""

    def put_then_cut(tx: Writer, name: str) -> str:
        proxy.cut = cut
        return put(tx, name)

    jobs = [partial(put_then_cut, name=f"{n}") for n in range(together)]
    results = await grouped(far_db, jobs)
    assert proxy.cuts == 1
    assert [type(result) for result in results] == [CommitUnknown] * together
    there = [await is_there(far_db, f"{n}") for n in range(together)]
    assert there == [cut is Cut.AFTER_COMMIT] * together


async def test_those_that_had_committed_are_not_told_otherwise(
    proxy: Proxy, far_db: PostgresDatabase
) -> None:
    """One by one, because locks met crosswise: the connection breaks at the third COMMIT."""
    group_runs = 0

    def stumble_in_a_group(tx: Writer, number: int) -> str:
        nonlocal group_runs
        if number == 0 and group_runs == 0:
            group_runs += 1
            raise psycopg.errors.DeadlockDetected
        if number == 2:
            proxy.cut = Cut.BEFORE_COMMIT
        return put(tx, f"{number}")

    results = await grouped(far_db, [partial(stumble_in_a_group, number=n) for n in range(5)])
    assert group_runs == 1
    assert results[:2] == ["here", "here"]
    assert isinstance(results[2], CommitUnknown)
    assert results[3:] == ["here", "here"]
    assert [await is_there(far_db, f"{n}") for n in range(5)] == [True, True, False, True, True]


async def grouped(
    db: PostgresDatabase, jobs: Sequence[Callable[[Writer], str]]
) -> list[str | BaseException]:
    """Run jobs that wait at the same time for the one connection."""
    gate, began = threading.Event(), threading.Event()

    def hold_up(tx: Writer) -> None:
        began.set()
        assert gate.wait(SOON_S)

    holding = asyncio.create_task(db.write(hold_up))
    await asyncio.to_thread(began.wait, SOON_S)
    waiting = [asyncio.create_task(db.write(job)) for job in jobs]
    await asyncio.sleep(0)
    gate.set()
    await holding
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_locks_that_meet_crosswise_are_sorted_out(db: PostgresDatabase) -> None:
    one, two = [await db.write(new_customer) for _ in range(2)]
    one_locked, two_locked = threading.Event(), threading.Event()

    def lock_both(
        tx: Writer, mine: Customer, done: threading.Event, other: Customer, wait: threading.Event
    ) -> bool:
        ledger.lock_account(tx, mine.id)
        done.set()
        assert wait.wait(SOON_S)
        ledger.lock_account(tx, other.id)
        return ledger.hold(tx, mine.id, "task", 1, NOW_MS)

    first = asyncio.create_task(
        db.write(partial(lock_both, mine=one, done=one_locked, other=two, wait=two_locked))
    )
    await asyncio.to_thread(one_locked.wait, SOON_S)
    second = db.write(partial(lock_both, mine=two, done=two_locked, other=one, wait=one_locked))
    assert list(await asyncio.gather(first, second)) == [True, True]


async def test_groups_that_lock_crosswise_do_not_wait_for_the_deadlock_detector(
    postgres_url: str,
) -> None:
    """It looks once a second; groups of many accounts would wait for it all the time."""
    db = PostgresDatabase(postgres_url, threads=6, group_max=8)
    customers = [await db.write(new_customer) for _ in range(8)]

    def hold(tx: Writer, who: Customer, number: int) -> bool:
        return ledger.hold(tx, who.id, f"task{number}", 1, NOW_MS)

    order = random.Random(7)
    began = time.monotonic()
    jobs = [partial(hold, who=order.choice(customers), number=n) for n in range(1_500)]
    writes = [db.write(job, locks=job.keywords["who"].id) for job in jobs]
    assert all(await asyncio.gather(*writes))
    elapsed_s = time.monotonic() - began
    balances = [await db.read(partial(ledger.balance, account_id=who.id)) for who in customers]
    assert sum(balance.held_micro for balance in balances if balance) == 1_500
    assert elapsed_s < 20  # it is one; with the detector it is a minute
    await db.close()


async def test_what_has_committed_is_on_the_servers_disk(postgres_url: str) -> None:
    """Whatever the server does by default."""
    db = PostgresDatabase(f"{postgres_url}?options=-csynchronous_commit%3Doff", threads=1)
    show = partial(_show, name="synchronous_commit")
    assert await db.read(lambda tx: tx.one("SHOW synchronous_commit")) == ("off",)
    assert await db.write(show) == "on"
    together = await grouped(db, [show, show])
    assert together == ["on", "on"]
    assert await db.read(lambda tx: tx.one("SHOW synchronous_commit")) == ("off",)
    await db.close()


def _show(tx: Writer, name: str) -> str:
    row = tx.one(f"SHOW {name}")
    assert row is not None
    return str(row[0])


async def test_a_lock_that_is_never_given_back_is_told_in_time(
    db: PostgresDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's forgotten transaction must not hold up every thread for good."""
    short = postgres_module._BEGIN.format(100)
    monkeypatch.setattr(postgres_module, "_BEGIN_ALONE", short)
    who = await db.write(new_customer)
    with psycopg.connect(postgres_url) as forgotten:
        forgotten.execute("UPDATE account SET name = name WHERE id = %s", (who.id,))
        with pytest.raises(StoreUnavailable):
            await db.write(lambda tx: ledger.lock_account(tx, who.id))
        assert await db.write(partial(put, name="others go on")) == "here"
    await db.write(lambda tx: ledger.lock_account(tx, who.id))


async def test_a_server_that_restarts_is_found_again() -> None:
    with restartable_postgres() as server:
        db = PostgresDatabase(server.url, threads=2)
        heard: list[tuple[str, str]] = []
        db.listen(lambda channel, payload: heard.append((channel, payload)))
        await db.write(partial(put, name="before"))
        server.stop()
        with pytest.raises(StoreUnavailable):
            await db.write(partial(put, name="while it is down"))
        with pytest.raises(StoreUnavailable):
            await is_there(db, "before")
        server.start()
        await db.write(partial(put, name="after"))
        assert await is_there(db, "before")
        assert not await is_there(db, "while it is down")
        await until_heard(db, heard, 1)
        await db.close()


async def until_heard(db: PostgresDatabase, heard: list[tuple[str, str]], count: int) -> None:
    """Notices are hints: those sent while nobody listened are lost, so they are sent again."""

    def notify(tx: Writer) -> None:
        tx.notify(WAKE)
        tx.notify(CHANGED, "task_x")

    deadline = time.monotonic() + SOON_S
    while len(heard) < count and time.monotonic() < deadline:
        await db.write(notify)
        await asyncio.sleep(0.05)
    assert set(heard) <= {(WAKE, ""), (CHANGED, "task_x")}
    assert len(heard) >= count


async def test_notices_of_one_process_reach_the_other(postgres_url: str) -> None:
    speaker, listener = (PostgresDatabase(postgres_url, threads=1) for _ in range(2))
    heard: list[tuple[str, str]] = []
    listener.listen(lambda channel, payload: heard.append((channel, payload)))
    await until_heard(speaker, heard, 2)
    await speaker.close()
    await listener.close()


async def test_a_read_only_standby_is_trouble_not_a_bug(
    db: PostgresDatabase, postgres_url: str
) -> None:
    def write_anyway(tx: Writer) -> str:
        tx.run("SET TRANSACTION READ ONLY")
        return put(tx, "x")

    with pytest.raises(StoreUnavailable):
        await db.write(write_anyway)


@pytest.mark.parametrize("count", [1, 7])
async def test_reads_are_not_starved_by_writes(postgres_url: str, count: int) -> None:
    db = PostgresDatabase(postgres_url, threads=1, group_max=4)
    order: list[str] = []

    async def noted(what: str, work: Callable[[], object]) -> None:
        await work()  # type: ignore[misc] # a coroutine function
        order.append(what)

    writes = [noted("w", partial(db.write, partial(put, name=f"{n}"))) for n in range(40)]
    reads = [noted("r", partial(db.read, accounts.list_accounts)) for _ in range(count)]
    await asyncio.gather(*writes[:8], *reads, *writes[8:])
    last_read = len(order) - 1 - order[::-1].index("r")
    assert last_read < 24
    await db.close()
