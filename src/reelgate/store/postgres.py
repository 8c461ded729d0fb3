"""PostgreSQL through psycopg 3: a few threads, each with one connection, commit in small groups.

Nothing here outlives a transaction on the server (no prepared statements, no session settings),
so a transaction-pooling proxy such as PgBouncer may stand in between. LISTEN needs a direct
connection; without it, work is found by looking, a second later.
"""

import asyncio
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reelgate.domain.errors import OperatorError, StorageFull, StoreError, StoreUnavailable
from reelgate.store.database import (
    CHANGED,
    WAKE,
    CommitUnknown,
    ConstraintBroken,
    Reader,
    Row,
    Writer,
)
from reelgate.store.migrations import POSTGRES, migrate
from reelgate.store.turns import Job, Turns

T = TypeVar("T")

_CONNECT_TIMEOUT_S = 5
_RECONNECT_PAUSE_S = 1.0
_LISTEN_POLL_S = 0.5
_ATTEMPTS_MAX = 5
_CONNECTIONS_MAX = 2
# What the URL may overrule: a server that is gone without a word is noticed within seconds.
_CONNECT = {
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# Said outright, because a server may have other defaults: what has committed is on its disk.
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; "
    "SET LOCAL lock_timeout = '{}ms'"
)
_BEGIN_ALONE = _BEGIN.format(10_000)
# Should groups wait for each other's locks crosswise all the same: the server would look for that
# after a second only, and so long nobody waits in a group.
_BEGIN_GROUP = f"{_BEGIN.format(250)}; SAVEPOINT job"
_NEXT_JOB = "RELEASE SAVEPOINT job; SAVEPOINT job"
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
_CROSSWISE = (*_AGAIN, errors.LockNotAvailable)

_Connection = psycopg.Connection[Row]
_Result = tuple[Any, BaseException | None]


@functools.cache
def _translated_sql(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


class PostgresTx:
    """A transaction on one PostgreSQL connection. Satisfies Reader and Writer."""

    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self._cursor = connection.cursor()
        self._notices: set[tuple[str, str]] = set()

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        return self._cursor.execute(_translated_sql(sql), params).fetchone()

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._cursor.execute(_translated_sql(sql), params).fetchall()

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._cursor.execute(_translated_sql(sql), params).rowcount

    def notify(self, channel: str, payload: str = "") -> None:
        self._notices.add((channel, payload))

    def commit(self) -> None:
        """COMMIT, and with it all notices in one go: they are sent when it is done."""
        if self._notices:
            channels, payloads = zip(*self._notices, strict=True)
            self._notices.clear()
            self._cursor.execute(
                b"SELECT pg_notify(channel, payload) "
                b"FROM unnest(%s::text[], %s::text[]) AS notice (channel, payload)",
                (list(channels), list(payloads)),
            )
        self._cursor.execute(b"COMMIT")


def connect(url: str) -> "psycopg.Connection[Row]":
    """A connection that keeps no state on the server between transactions."""
    conninfo = make_conninfo("", **{**_CONNECT, **conninfo_to_dict(url)})
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _translated(error: BaseException) -> BaseException:
    """psycopg's errors as ours; anything else as it is."""
    match error:
        case errors.DiskFull():
            return StorageFull("the disk of the database is full")
        case errors.IntegrityError():
            return ConstraintBroken(str(error))
        case errors.ReadOnlySqlTransaction():
            return StoreUnavailable("the database only reads: is it a standby?")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return StoreUnavailable(f"the database is not available: {_one_line(error)}")
        case psycopg.Error():
            return StoreError(str(error))
        case _:
            return error


class PostgresDatabase:
    """See `Database`. `threads` connections; up to `group_max` transactions share a COMMIT."""

    shared = True

    def __init__(self, url: str, *, threads: int = 6, group_max: int = 64) -> None:
        self._url = url
        self._turns = Turns(group_max)
        self._closed = False
        try:
            with connect(url) as connection:
                migrate(PostgresTx(connection), POSTGRES)
        except psycopg.Error as error:
            raise OperatorError(
                f"REELGATE_DATABASE_URL: can't use the PostgreSQL database: {_one_line(error)}"
            ) from error
        self._threads = [
            threading.Thread(target=self._serve, name=f"postgres-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        return self._turns.waiting

    async def write(self, fn: Callable[[Writer], T], *, locks: str = "") -> T:
        return await asyncio.shield(self._enqueue(fn, writes=True, locks=locks))

    async def read(self, fn: Callable[[Reader], T]) -> T:
        return await self._enqueue(_in_snapshot(fn), writes=False)

    async def point(self, fn: Callable[[Reader], T]) -> T:
        return await self._enqueue(fn, writes=False)

    def listen(self, on_notice: Callable[[str, str], None]) -> None:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(
            target=self._listen_loop, args=(loop, on_notice), name="postgres-listen", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._turns.close(len(self._threads))
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _enqueue(
        self, fn: Callable[[Any], T], *, writes: bool, locks: str = ""
    ) -> "asyncio.Future[T]":
        if self._closed:
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._turns.put(Job(fn, writes, locks, loop, future))
        return future

    def _serve(self) -> None:
        connection: _Connection | None = None
        for group in self._turns.groups():
            connection = self._run(connection, deque(group))
        if connection is not None:
            connection.close()

    def _run(self, connection: "_Connection | None", group: "deque[Job]") -> "_Connection | None":
        """Run a group and tell each waiter; the connection to go on with.

        A connection that breaks before COMMIT has done nothing: once more, on a new one.
        """
        for attempt in range(1, _CONNECTIONS_MAX + 1):
            try:
                if connection is None or connection.closed:
                    connection = connect(self._url)
                _run_group(connection, group)
                return connection
            except BaseException as error:  # noqa: BLE001 - each waiter is told what happened
                lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
                if lost and attempt < _CONNECTIONS_MAX and (connection and connection.closed):
                    continue
                _tell(group, None, _translated(error))
                if connection is not None:
                    connection.close()
        return None

    def _listen_loop(
        self, loop: asyncio.AbstractEventLoop, on_notice: Callable[[str, str], None]
    ) -> None:
        while not self._closed:
            try:
                with connect(self._url) as connection:
                    connection.execute(f"LISTEN {WAKE}")
                    connection.execute(f"LISTEN {CHANGED}")
                    while not self._closed:
                        for notice in connection.notifies(timeout=_LISTEN_POLL_S):
                            if not loop.is_closed():
                                loop.call_soon_threadsafe(on_notice, notice.channel, notice.payload)
            except psycopg.Error:
                time.sleep(_RECONNECT_PAUSE_S)


def _in_snapshot(fn: Callable[[Reader], T]) -> Callable[[PostgresTx], T]:
    def run(tx: PostgresTx) -> T:
        tx.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            return fn(tx)
        finally:
            tx.run("ROLLBACK")

    return run


def _run_group(connection: "_Connection", group: "deque[Job]") -> None:
    """Run all of a group. Jobs leave it as soon as their waiters have been told."""
    tx = PostgresTx(connection)
    if len(group) > 1 and _commit_together(connection, tx, group):
        return
    while group:
        job = group[0]
        result = _commit_alone(connection, tx, job) if job.writes else _run_read(tx, job)
        group.popleft().tell(*result)


def _run_read(tx: PostgresTx, job: Job) -> _Result:
    try:
        return job.fn(tx), None
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for this job
        return None, _translated(error)


def _commit_together(connection: "_Connection", tx: PostgresTx, group: "deque[Job]") -> bool:
    """One transaction for all, a savepoint each. False: do them one by one."""
    results: list[_Result] = []
    try:
        connection.execute(_BEGIN_GROUP)
        for job in group:
            results.append(_run_in_savepoint(connection, tx, job))
        tx.commit()
    except psycopg.Error as error:
        if not connection.closed:
            # Locks met crosswise, or one was not to be had: alone, each can wait for its own.
            tx.run("ROLLBACK")
            return False
        if len(results) < len(group):
            raise
        _tell(group, None, CommitUnknown(f"the connection broke during COMMIT: {error}"))
        return True
    for result in results:
        group.popleft().tell(*result)
    return True


def _run_in_savepoint(connection: "_Connection", tx: PostgresTx, job: Job) -> _Result:
    try:
        value = job.fn(tx)
    except _CROSSWISE:
        raise
    except BaseException as error:
        if connection.closed:
            raise
        tx.run("ROLLBACK TO SAVEPOINT job")
        return None, _translated(error)
    connection.execute(_NEXT_JOB)
    return value, None


def _commit_alone(connection: "_Connection", tx: PostgresTx, job: Job) -> _Result:
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        connection.execute(_BEGIN_ALONE)
        committing = False
        try:
            value = job.fn(tx)
            committing = True
            tx.commit()
        except BaseException as error:
            if connection.closed:
                if committing:
                    return None, CommitUnknown(f"the connection broke during COMMIT: {error}")
                raise
            tx.run("ROLLBACK")
            if isinstance(error, _AGAIN) and attempt < _ATTEMPTS_MAX:
                continue
            return None, _translated(error)
        return value, None
    return None, StoreUnavailable("the database kept refusing the transaction")


def _tell(group: "deque[Job]", value: Any, error: BaseException | None) -> None:
    """Tell all waiters of a group, and empty it."""
    while group:
        group.popleft().tell(value, error)
