"""Waiting for a task to change, without asking the database for each that waits.

Changes made in this process are published here after their commit. Those of other processes come
as notices, or are found by one look for all watched tasks together (`unseen`).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress


class Watch:
    """Wakes whoever waits for a task. Used from one event loop."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._on_work: list[Callable[[], None]] = []
        self.closed = False

    def subscribe(self, task_id: str) -> asyncio.Event:
        """An event that is set at every change of the task, until `unsubscribe`."""
        event = asyncio.Event()
        self._waiters.setdefault(task_id, set()).add(event)
        return event

    def unsubscribe(self, task_id: str, event: asyncio.Event) -> None:
        waiters = self._waiters.get(task_id)
        if waiters is not None:
            waiters.discard(event)
            if not waiters:
                del self._waiters[task_id]

    def changed(self, task_id: str) -> None:
        """Say that a task has changed."""
        for event in self._waiters.get(task_id, ()):
            event.set()

    def close(self) -> None:
        """The process is stopping: nobody is to wait any longer."""
        self.closed = True
        for events in self._waiters.values():
            for event in events:
                event.set()

    def watched(self) -> list[str]:
        """The tasks that somebody waits for."""
        return list(self._waiters)

    def on_work(self, wake: Callable[[], None]) -> None:
        """Call `wake` when there may be new work for a worker in this process."""
        self._on_work.append(wake)

    def work(self) -> None:
        """Say that there may be new work."""
        for wake in self._on_work:
            wake()


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event was set within the time; clears it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    was_set = event.is_set()
    event.clear()
    return was_set
