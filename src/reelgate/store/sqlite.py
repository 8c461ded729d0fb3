"""SQLite through APSW: one writer thread that commits in groups, and readers that can't write.

`synchronous=FULL` in WAL mode makes every COMMIT an fsync; committing up to 256 transactions with
one fsync is what makes that affordable.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from reelgate.domain.errors import OperatorError, StorageFull, StoreError, StoreUnavailable
from reelgate.store.database import ConstraintBroken, Reader, Row, Writer
from reelgate.store.migrations import SQLITE, migrate

T = TypeVar("T")

_BUSY_TIMEOUT_MS = 10_000
_CACHE_KIB = 64 * 1024
_WAL_PAGES_BEFORE_CHECKPOINT = 4_000
_READER_THREADS = 4

_Job = tuple[Callable[[Writer], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class SqliteTx:
    """A transaction on one SQLite connection. Satisfies Reader and Writer."""

    skip_locked = ""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.execute
        self._connection = connection

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        return self._execute(sql, params).fetchone()

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._execute(sql, params).fetchall()

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        self._execute(sql, params)
        return self._connection.changes()

    def notify(self, channel: str, payload: str = "") -> None:
        """One SQLite file has one worker, which lives where its API lives: nobody to tell."""


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """A connection set up the way this product needs it. Raises OperatorError."""
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES_BEFORE_CHECKPOINT}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except apsw.Error as error:
        raise OperatorError(
            f"REELGATE_DATABASE_URL: can't open the SQLite database {path}: {error}"
        ) from error
    return connection


def _translated(error: BaseException) -> BaseException:
    """APSW's errors as ours; anything else as it is."""
    match error:
        case apsw.FullError():
            return StorageFull("the disk of the database is full")
        case apsw.IOError():
            return StorageFull(f"the database could not be written: {error}")
        case apsw.BusyError() | apsw.LockedError():
            return StoreUnavailable(f"the database is busy: {error}")
        case apsw.ConstraintError():
            return ConstraintBroken(str(error))
        case apsw.Error():
            return StoreError(str(error))
        case _:
            return error


class SqliteDatabase:
    """See `Database`. `group_max` is how many transactions may share one fsync."""

    shared = False

    def __init__(self, path: Path, *, group_max: int = 256) -> None:
        self._path = path
        self._group_max = group_max
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer_connection = connect(path)
        migrate(SqliteTx(self._writer_connection), SQLITE)
        self._point_connection = connect(path, read_only=True)
        self._point = SqliteTx(self._point_connection)
        self._readers = ThreadPoolExecutor(_READER_THREADS, "sqlite-reader")
        self._local = threading.local()
        self._reader_connections: list[apsw.Connection] = []
        self._closed = False
        self._thread = threading.Thread(target=self._write_loop, name="sqlite-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    async def write(self, fn: Callable[[Writer], T]) -> T:
        if self._closed:
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((fn, loop, future))
        # A waiter that goes away must not undo what is being committed for it.
        return await asyncio.shield(future)

    async def read(self, fn: Callable[[Reader], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, fn)

    async def point(self, fn: Callable[[Reader], T]) -> T:
        try:
            return fn(self._point)
        except apsw.Error as error:
            raise _translated(error) from error

    def listen(self, on_notice: Callable[[str, str], None]) -> None:
        """Other processes on one SQLite file have nothing to say; see `SqliteTx.notify`."""

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._readers.shutdown()
        for connection in self._reader_connections:
            connection.close()
        self._point_connection.close()
        self._writer_connection.close()

    def _read(self, fn: Callable[[Reader], T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, read_only=True)
            self._reader_connections.append(connection)
        try:
            connection.execute("BEGIN")
            try:
                return fn(SqliteTx(connection))
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise _translated(error) from error

    def _write_loop(self) -> None:
        tx = SqliteTx(self._writer_connection)
        while True:
            jobs = [self._jobs.get()]
            while len(jobs) < self._group_max and jobs[-1] is not None:
                try:
                    jobs.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            work = [job for job in jobs if job is not None]
            if work:
                _resolve(work, self._commit_group(tx, [job[0] for job in work]))
            if len(work) < len(jobs):
                return

    def _commit_group(
        self, tx: SqliteTx, fns: list[Callable[[Writer], Any]]
    ) -> list[tuple[Any, BaseException | None]]:
        """Run all in one transaction, each in its own savepoint; one fsync for the group."""
        execute = self._writer_connection.execute
        results: list[tuple[Any, BaseException | None]] = []
        try:
            execute("BEGIN IMMEDIATE")
            results.extend(self._run_in_savepoint(tx, fn) for fn in fns)
            execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - each waiter is told what happened
            if self._writer_connection.in_transaction:
                execute("ROLLBACK")
            failure = _translated(error)
            # Those that had failed by themselves keep their own reason.
            results = [(None, own or failure) for _, own in results]
            results += [(None, failure)] * (len(fns) - len(results))
        return results

    def _run_in_savepoint(
        self, tx: SqliteTx, fn: Callable[[Writer], Any]
    ) -> tuple[Any, BaseException | None]:
        execute = self._writer_connection.execute
        execute("SAVEPOINT job")
        try:
            value = fn(tx)
        except (apsw.FullError, apsw.IOError, apsw.BusyError):
            raise  # SQLite may have rolled the whole group back
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for this job
            execute("ROLLBACK TO job")
            execute("RELEASE job")
            return None, _translated(error)
        execute("RELEASE job")
        return value, None


def _resolve(jobs: list[_Job], results: list[tuple[Any, BaseException | None]]) -> None:
    """Wake the waiters: one call into each event loop, however many wait there."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for (_, loop, future), (value, error) in zip(jobs, results, strict=True):
        by_loop.setdefault(loop, []).append((future, value, error))
    for loop, outcomes in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_results, outcomes)


def _set_results(outcomes: list[_Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
