"""PostgreSQL through psycopg 3: a few threads, each with one connection, commit in small groups.

Nothing here outlives a transaction on the server (no prepared statements, no session settings),
so a transaction-pooling proxy such as PgBouncer may stand in between. LISTEN needs a direct
connection; without it, work is found by looking, a second later.
"""

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import errors

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

T = TypeVar("T")

_CONNECT_TIMEOUT_S = 5
_RECONNECT_PAUSE_S = 1.0
_LISTEN_POLL_S = 0.5
_ATTEMPTS_MAX = 5

_Job = tuple[Callable[[Any], Any], bool, asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
_Result = tuple[Any, BaseException | None]


@functools.cache
def _translated_sql(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


class PostgresTx:
    """A transaction on one PostgreSQL connection. Satisfies Reader and Writer."""

    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self._cursor = connection.cursor()

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        return self._cursor.execute(_translated_sql(sql), params).fetchone()

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._cursor.execute(_translated_sql(sql), params).fetchall()

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._cursor.execute(_translated_sql(sql), params).rowcount

    def notify(self, channel: str, payload: str = "") -> None:
        self._cursor.execute(b"SELECT pg_notify(%s, %s)", (channel, payload))


def connect(url: str) -> "psycopg.Connection[Row]":
    """A connection that keeps no state on the server between transactions."""
    return psycopg.connect(
        url, autocommit=True, prepare_threshold=None, connect_timeout=_CONNECT_TIMEOUT_S
    )


def _translated(error: BaseException) -> BaseException:
    """psycopg's errors as ours; anything else as it is."""
    match error:
        case errors.DiskFull():
            return StorageFull("the disk of the database is full")
        case errors.IntegrityError():
            return ConstraintBroken(str(error))
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return StoreUnavailable(f"the database is not available: {error}")
        case psycopg.Error():
            return StoreError(str(error))
        case _:
            return error


def _may_run_again(error: BaseException) -> bool:
    return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)


class PostgresDatabase:
    """See `Database`. `threads` connections; up to `group_max` transactions share a COMMIT."""

    shared = True

    def __init__(self, url: str, *, threads: int = 6, group_max: int = 64) -> None:
        self._url = url
        self._group_max = group_max
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        try:
            with connect(url) as connection:
                migrate(PostgresTx(connection), POSTGRES)
        except psycopg.Error as error:
            raise OperatorError(
                f"REELGATE_DATABASE_URL: can't use the PostgreSQL database: {str(error).strip()}"
            ) from error
        self._threads = [
            threading.Thread(target=self._serve, name=f"postgres-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    async def write(self, fn: Callable[[Writer], T]) -> T:
        return await asyncio.shield(self._enqueue(fn, writes=True))

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
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _enqueue(self, fn: Callable[[Any], T], *, writes: bool) -> "asyncio.Future[T]":
        if self._closed:
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((fn, writes, loop, future))
        return future

    def _serve(self) -> None:
        connection: psycopg.Connection[Row] | None = None
        while (job := self._jobs.get()) is not None:
            group, ended = self._group(job)
            try:
                if connection is None or connection.closed:
                    connection = connect(self._url)
                results = _run_group(connection, group)
            except BaseException as error:  # noqa: BLE001 - each waiter is told what happened
                if connection is not None:
                    connection.close()
                results = [(None, _translated(error))] * len(group)
            _resolve(group, results)
            if ended:
                break
        if connection is not None:
            connection.close()

    def _group(self, first: _Job) -> tuple[list[_Job], bool]:
        """More writes that are waiting already; reads go alone, they have no fsync to share."""
        group = [first]
        while first[1] and len(group) < self._group_max:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            if not job[1]:
                self._jobs.put(job)
                break
            group.append(job)
        return group, False

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


def _run_group(connection: "psycopg.Connection[Row]", group: list[_Job]) -> list[_Result]:
    tx = PostgresTx(connection)
    if not group[0][1]:
        return [_run_read(tx, job) for job in group]
    if len(group) > 1:
        results = _commit_together(tx, group)
        if results is not None:
            return results
    return [_commit_alone(connection, tx, job) for job in group]


def _run_read(tx: PostgresTx, job: _Job) -> _Result:
    try:
        return job[0](tx), None
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for this job
        return None, _translated(error)


def _commit_together(tx: PostgresTx, group: list[_Job]) -> list[_Result] | None:
    """One transaction for all, a savepoint each. None: locks met crosswise, do them one by one."""
    results: list[_Result] = []
    tx.run("BEGIN")
    for job in group:
        tx.run("SAVEPOINT job")
        try:
            results.append((job[0](tx), None))
        except (errors.DeadlockDetected, errors.SerializationFailure):
            tx.run("ROLLBACK")
            return None
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for this job
            tx.run("ROLLBACK TO SAVEPOINT job")
            results.append((None, _translated(error)))
        tx.run("RELEASE SAVEPOINT job")
    _commit(tx)
    return results


def _commit_alone(connection: "psycopg.Connection[Row]", tx: PostgresTx, job: _Job) -> _Result:
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        tx.run("BEGIN")
        try:
            value = job[0](tx)
            _commit(tx)
        except BaseException as error:
            if connection.closed or connection.broken:
                raise
            with contextlib.suppress(psycopg.Error):
                tx.run("ROLLBACK")
            if _may_run_again(error) and attempt < _ATTEMPTS_MAX:
                continue
            return None, _translated(error)
        return value, None
    return None, StoreUnavailable("the database kept refusing the transaction")


def _commit(tx: PostgresTx) -> None:
    try:
        tx.run("COMMIT")
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if _may_run_again(error):
            raise
        raise CommitUnknown(f"the connection broke during COMMIT: {error}") from error


def _resolve(group: list[_Job], results: list[_Result]) -> None:
    for (_, _, loop, future), (value, error) in zip(group, results, strict=True):
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_result, future, value, error)


def _set_result(future: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
