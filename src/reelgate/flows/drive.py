"""A task in a worker's hands: what is remembered between steps, and how a step is recorded."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reelgate.domain.errors import StoreError
from reelgate.domain.task import State, Task
from reelgate.flows import collect, inputs
from reelgate.flows.gateway import Gateway
from reelgate.flows.settle import Ending, log_fields, settle
from reelgate.flows.upstreams import Upstream
from reelgate.store import tasks
from reelgate.store.database import CHANGED, CommitUnknown, Writer

log = logging.getLogger("reelgate.task")

_BACKOFF_MS = 1_000
BACKOFF_MS_MAX = 30_000
_RECORD_RETRY_MS = 500


@dataclass(slots=True)
class Drive:
    """A task in a worker's hands, with what it remembers between steps but need not keep.

    `adopted`: the task was found in a state that another drive had brought it to. `in_line`: while
    it is queued, the next place at an upstream is for it. `ending`: how it is to end, once that
    could not be recorded yet.
    """

    task: Task
    adopted: bool = True
    slot: Upstream | None = None
    declined: frozenset[str] = frozenset()
    source_looked_at: bool = False
    troubles: int = 0
    doubted_since_ms: int | None = None
    in_line: bool = True
    waited_ms: int = 0
    progress_noted_ms: int = 0
    ending: Ending | None = None
    download: collect.Progress = field(default_factory=collect.Progress)

    def release(self) -> None:
        """Give back the place at the upstream."""
        if self.slot is not None:
            self.slot.in_flight -= 1
            self.slot = None

    def occupy(self, upstream: Upstream) -> None:
        """Take a place at the upstream."""
        if self.slot is not upstream:
            self.release()
            upstream.in_flight += 1
            self.slot = upstream


async def move(
    gateway: Gateway,
    drive: Drive,
    after: State,
    note: str = "",
    *,
    first: Callable[[Writer, int], None] | None = None,
    locks: str = "",
    **changes: Any,
) -> bool:
    """Record a move; what has happened at an upstream is recorded however long that takes.

    A move that may have been recorded already is asked for until that is known. `first` is done
    before it in the same transaction, with the time in ms; what it raises undoes both. `locks` is
    the row that it locks.
    """
    task, doubtful = drive.task, False
    while True:
        try:
            moved = await gateway.db.write(
                partial(
                    _record,
                    task=task,
                    after=after,
                    now_ms=gateway.clock.now_ms(),
                    note=note,
                    changes=changes,
                    first=None if doubtful else first,
                    doubtful=doubtful,
                ),
                locks=locks,
            )
        except StoreError as error:
            log.warning("a move could not be recorded", extra=log_fields(task, after, str(error)))
            doubtful = doubtful or isinstance(error, CommitUnknown)
            if task.state is not State.SENDING and not doubtful:
                raise
            await asyncio.sleep(_RECORD_RETRY_MS / 1000)
            continue
        if moved is None:
            log.info("task is in other hands", extra=log_fields(task, after, note))
            return False
        log.info("task moved", extra=log_fields(task, after, note))
        drive.task = moved
        gateway.watch.changed(task.id)
        return True


def _record(
    tx: Writer,
    task: Task,
    after: State,
    now_ms: int,
    note: str,
    changes: dict[str, Any],
    *,
    first: Callable[[Writer, int], None] | None,
    doubtful: bool,
) -> Task | None:
    if first is not None:
        first(tx, now_ms)
    moved = tasks.move(tx, task, after, now_ms, note, **changes)
    if moved is None and doubtful:
        # Nobody but this drive brings a task of this epoch into that state.
        found = tasks.get(tx, task.id)
        return found if found and (found.state, found.epoch) == (after, task.epoch) else None
    if moved is not None and moved.status != task.status:
        tx.notify(CHANGED, task.id)
    return moved


async def end(gateway: Gateway, drive: Drive, ending: Ending) -> int | None:
    """Settle a task; nothing is left to do then, here or anywhere.

    An end that can't be recorded now is kept in hand: nobody is asked again what has become of
    the task.
    """
    task = drive.task
    drive.release()
    code = ending.failure.code.value if ending.failure else ""
    try:
        ended = await settle(gateway, task, ending)
    except StoreError as error:
        fields = log_fields(task, ending.state, f"{code}: {error}")
        log.warning("an end could not be recorded", extra=fields)
        drive.ending = ending
        return _RECORD_RETRY_MS
    drive.ending = None
    if ended is None:
        log.info("task is in other hands", extra=log_fields(task, ending.state, code))
        return None
    drive.task = ended
    await inputs.forget(gateway, ended)
    return None


def until_deadline(gateway: Gateway, drive: Drive, wait_ms: int) -> int:
    """A wait that does not pass the task's deadline."""
    left_ms = drive.task.deadline_at_ms - gateway.clock.now_ms()
    return max(1, min(wait_ms, left_ms))


def backoff_ms(attempt: int) -> int:
    """How long to wait after the nth failure: doubling, with jitter, up to 30 s."""
    ceiling = min(_BACKOFF_MS * 2 ** min(attempt - 1, 10), BACKOFF_MS_MAX)
    return int(ceiling * random.uniform(0.6, 1.0))
