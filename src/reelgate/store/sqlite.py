"""SQLite through APSW: one writer that commits in groups, and readers that can't write.

`synchronous=FULL` in WAL mode makes every COMMIT an fsync; committing up to 256 transactions with
one fsync is what makes that affordable. The statements of a group run on the event loop: each
takes microseconds, less than two threads lose by handing Python's lock to and fro between them.
What may wait, for the disk or for another process, runs in a thread: BEGIN and COMMIT.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Job:
    """A transaction and whoever waits for it."""

    fn: Callable[[Writer], Any]
    waiter: "asyncio.Future[Any]"
    value: Any = None
    error: BaseException | None = None

    def tell(self) -> None:
        """Wake the waiter. One that has gone away has not undone what was done for it."""
        if self.waiter.done():
            return
        if self.error is None:
            self.waiter.set_result(self.value)
        else:
            self.waiter.set_exception(self.error)


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
        connection.execute("PRAGMA temp_store=MEMORY")  # savepoints keep no file of their own
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES_BEFORE_CHECKPOINT}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
    except apsw.Error as error:
        raise _unusable(path, error) from error
    return connection


def _unusable(path: Path, error: apsw.Error) -> OperatorError:
    return OperatorError(f"REELGATE_DATABASE_URL: can't use the SQLite database {path}: {error}")


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
    """See `Database`; used from one event loop. Up to `group_max` transactions share one fsync."""

    shared = False

    def __init__(self, path: Path, *, group_max: int = 256) -> None:
        self._path = path
        self._group_max = group_max
        self._writer = connect(path)
        self._writer_tx = SqliteTx(self._writer)
        try:
            migrate(self._writer_tx, SQLITE)
        except apsw.Error as error:
            raise _unusable(path, error) from error
        self._writer_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._jobs: deque[_Job] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._point_connection = connect(path, read_only=True)
        self._point = SqliteTx(self._point_connection)
        self._readers = ThreadPoolExecutor(_READER_THREADS, "sqlite-reader")
        self._local = threading.local()
        self._reader_connections: list[apsw.Connection] = []
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    async def write(self, fn: Callable[[Writer], T], *, locks: str = "") -> T:
        if self._closed:
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._jobs.append(_Job(fn, waiter))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_groups(loop))
        return await waiter

    async def read(self, fn: Callable[[Reader], T]) -> T:
        if self._closed:
            raise StoreUnavailable("the database is closed")
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
        while self._committing is not None:
            await asyncio.wait([self._committing])
        self._writer_thread.shutdown()
        self._readers.shutdown()
        for connection in self._reader_connections:
            connection.close()
        self._point_connection.close()
        self._writer.close()

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

    # ---- writing in groups ----------------------------------------------------------------

    async def _commit_groups(self, loop: asyncio.AbstractEventLoop) -> None:
        """Group after group until nobody waits; while one is being synced the next gathers."""
        execute = self._writer.execute
        try:
            while self._jobs:
                group: list[_Job] = []
                try:
                    await loop.run_in_executor(self._writer_thread, self._begin)
                    group = self._next_group()
                    if not self._run_all(group):
                        await loop.run_in_executor(self._writer_thread, self._begin)
                        for job in group:
                            self._run_in_savepoint(job)
                    await loop.run_in_executor(self._writer_thread, execute, "COMMIT")
                except Exception as error:  # noqa: BLE001 - each waiter is told what happened
                    with contextlib.suppress(apsw.Error):  # it may have rolled back by itself
                        execute("ROLLBACK")
                    failure = _translated(error)
                    group = group or self._next_group()
                    for job in group:
                        # Those that had failed by themselves keep their own reason.
                        job.error = job.error or failure
                for job in group:
                    job.tell()
        finally:
            self._committing = None

    def _begin(self) -> None:
        if self._writer.in_transaction:  # begun before, and not to be kept
            self._writer.execute("ROLLBACK")
        self._writer.execute("BEGIN IMMEDIATE")

    def _next_group(self) -> list[_Job]:
        return [self._jobs.popleft() for _ in range(min(len(self._jobs), self._group_max))]

    def _run_all(self, group: list[_Job]) -> bool:
        """Run a group as one; False when one has failed after it had written.

        Savepoints would copy every page that a job touches, and hardly a job fails.
        """
        for job in group:
            written = self._writer.total_changes()
            self._run(job)
            if job.error is not None and self._writer.total_changes() != written:
                return False
        return True

    def _run_in_savepoint(self, job: _Job) -> None:
        execute = self._writer.execute
        execute("SAVEPOINT job")
        self._run(job)
        if job.error is not None:
            execute("ROLLBACK TO job")
        execute("RELEASE job")

    def _run(self, job: _Job) -> None:
        job.error = None
        try:
            job.value = job.fn(self._writer_tx)
        except (apsw.FullError, apsw.IOError, apsw.BusyError):
            raise  # SQLite may have rolled the whole group back
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for this job
            job.error = _translated(error)
