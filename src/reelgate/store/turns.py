"""Whose turn it is: what waits for one of several threads, and goes to it in groups.

Threads that each hold some of the jobs of one account would only wait for each other in the
database. So those that will take the same lock stand in one line, and a line is in one thread's
hands at a time; they share a COMMIT instead.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

_LAST_ONES_S = 0.01


@dataclass(slots=True)
class Job:
    """A transaction, or a read, and whoever waits for it.

    `locks` names what it will lock, empty when that is nothing that others want.
    """

    fn: Callable[[Any], Any]
    writes: bool
    locks: str
    loop: asyncio.AbstractEventLoop
    waiter: "asyncio.Future[Any]"

    def tell(self, value: Any, error: BaseException | None) -> None:
        """Wake the waiter, from any thread."""
        with contextlib.suppress(RuntimeError):  # a loop that was closed waits for nothing
            self.loop.call_soon_threadsafe(self._set, value, error)

    def _set(self, value: Any, error: BaseException | None) -> None:
        if self.waiter.done():
            return
        if error is None:
            self.waiter.set_result(value)
        else:
            self.waiter.set_exception(error)


@dataclass(slots=True)
class _Line:
    """All that wait for one lock."""

    locks: str
    jobs: deque[Job]


class Turns:
    """Jobs and the threads that take them. At most `group_max` writes go to a thread at once."""

    def __init__(self, group_max: int) -> None:
        self._group_max = group_max
        self._queue: queue.SimpleQueue[Job | _Line | None] = queue.SimpleQueue()
        self._lines: dict[str, _Line] = {}
        self._changing_lines = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for their turn, about."""
        with self._changing_lines:
            return self._queue.qsize() + sum(len(line.jobs) for line in self._lines.values())

    def put(self, job: Job) -> None:
        """Let a job wait for its turn."""
        if not job.locks:
            self._queue.put(job)
            return
        with self._changing_lines:
            line = self._lines.get(job.locks)
            if line is not None:
                line.jobs.append(job)
                return
            line = self._lines[job.locks] = _Line(job.locks, deque([job]))
        self._queue.put(line)

    def close(self, threads: int) -> None:
        """Let so many threads end when they have done what waits now."""
        for _ in range(threads):
            self._queue.put(None)

    def groups(self) -> Iterator[list[Job]]:
        """One thread's turns until `close`: a read alone, or writes that may share a COMMIT."""
        next_up: list[Job | None] = []
        while True:
            item = next_up.pop() if next_up else self._queue.get()
            if item is not None:
                group, lines = self._group(item, next_up)
                # All groups take their locks in the same order: no two wait for each other.
                group.sort(key=attrgetter("locks"))
                yield group
                self._let_go(lines)
            elif self._lines:  # another thread may yet put one back
                self._queue.put(None)
                time.sleep(_LAST_ONES_S)
            else:
                return

    def _group(
        self, item: Job | _Line | None, next_up: list[Job | None]
    ) -> tuple[list[Job], list[_Line]]:
        """What goes with `item`, and the lines that are in hand now; `next_up` is what does not."""
        group: list[Job] = []
        lines: list[_Line] = []
        while True:
            if isinstance(item, _Line):
                lines.append(item)
                while item.jobs and len(group) < self._group_max:
                    group.append(item.jobs.popleft())
            elif item is None or (group and not item.writes):
                next_up.append(item)
                break
            else:
                group.append(item)
            if not group[0].writes or len(group) >= self._group_max:
                break
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
        return group, lines

    def _let_go(self, lines: list[_Line]) -> None:
        """Those that came to stand in a line meanwhile wait behind all who wait already."""
        with self._changing_lines:
            for line in lines:
                if line.jobs:
                    self._queue.put(line)
                else:
                    del self._lines[line.locks]
