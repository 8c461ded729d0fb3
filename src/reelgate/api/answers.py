"""The last answers about tasks that live: most polls find that nothing has changed.

An answer is good for one revision of its task. That number is all that a repeated poll asks of
the database; the row, its order and its prices are not read and written out again.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from reelgate.domain.task import Task
from reelgate.store import tasks
from reelgate.store.database import Database

A = TypeVar("A")

# About a kilobyte each.
_ENTRIES_MAX = 16_384


@dataclass(slots=True)
class Answers(Generic[A]):
    """Used from one event loop. Whose task it is, is asked of the database each time."""

    db: Database
    _last: dict[str, tuple[int, A]] = field(default_factory=dict)

    async def unchanged(self, account_id: str, task_id: str) -> A | None:
        """The last answer about a task, if that has not changed since."""
        last = self._last.get(task_id)
        if last is None:
            return None
        now = await self.db.point(partial(tasks.revision, account_id=account_id, task_id=task_id))
        return last[1] if now == last[0] else None

    def keep(self, task: Task, answer: A) -> None:
        """Remember an answer for as long as its task neither changes nor ends."""
        if task.ended:
            self._last.pop(task.id, None)
            return
        if len(self._last) >= _ENTRIES_MAX:
            del self._last[next(iter(self._last))]
        self._last[task.id] = (task.revision, answer)
