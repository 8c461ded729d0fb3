"""What a database is to the rest of the product: transactions that run plain functions.

A store function takes a `Reader` or a `Writer`, runs statements, and returns dataclasses. It may
be run again from the start when the database asks for that, so it must do nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from reelgate.domain.errors import StoreError, StoreUnavailable

T = TypeVar("T")
Row = tuple[Any, ...]

# Channels of `Writer.notify`. A notification is only a hint: whoever waits for one also looks.
WAKE = "reelgate_wake"
CHANGED = "reelgate_changed"


class CommitUnknown(StoreUnavailable):
    """The connection broke during COMMIT: the transaction may or may not have happened."""


class ConstraintBroken(StoreError):
    """A statement would have broken a constraint of the schema; nothing was written."""


class Reader(Protocol):
    """An open transaction that can only read. Parameters are written `?`."""

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None: ...

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]: ...


class Writer(Reader, Protocol):
    """An open transaction that can write. `run` returns the number of rows changed."""

    # Put behind a SELECT that claims rows: the clause that skips rows others are claiming.
    skip_locked: str

    def run(self, sql: str, params: Sequence[Any] = ()) -> int: ...

    def notify(self, channel: str, payload: str = "") -> None:
        """Tell other processes on the same database, once this transaction has committed."""
        ...


class Database(Protocol):
    """Runs store functions. Raises StoreError and its kinds, and whatever `fn` raises."""

    # Whether several processes may hold workers on this database at once.
    shared: bool

    @property
    def waiting(self) -> int:
        """How many transactions wait for their turn, about."""
        ...

    async def write(self, fn: Callable[[Writer], T], *, locks: str = "") -> T:
        """Run `fn` in a write transaction; when this returns, it is on disk.

        `locks` is the row that others want too, an account's id: transactions that share a COMMIT
        run in the order of it.
        """
        ...

    async def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` over one consistent snapshot, off the event loop."""
        ...

    async def point(self, fn: Callable[[Reader], T]) -> T:
        """Run one single-row read by key, the cheapest way this database has."""
        ...

    def listen(self, on_notice: Callable[[str, str], None]) -> None:
        """Call `on_notice(channel, payload)` on the event loop for notices of other processes."""
        ...

    async def close(self) -> None: ...
