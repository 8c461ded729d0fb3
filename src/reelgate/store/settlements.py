"""The record of how each task's money ended, and the event that says so."""

from dataclasses import dataclass
from typing import Any

import msgspec

from reelgate.domain.ids import new_id
from reelgate.domain.task import State, Task
from reelgate.store.database import Reader, Writer

_EVENT_TYPES = {State.COMPLETED: "video.completed"}
_BAD_END_EVENT = "video.failed"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one task's money ended. `upstream_cost_ticks` is raw: 10^-10 USD, None: not told."""

    outcome: str
    error_code: str | None
    ended_at_ms: int
    held_micro: int
    captured_micro: int
    released_micro: int
    loss_micro: int
    upstream_cost_ticks: int | None


def get(tx: Reader, task_id: str) -> Settlement | None:
    """None while the task lives."""
    row = tx.one(
        "SELECT outcome, error_code, ended_at_ms, held_micro, captured_micro, released_micro, "
        "loss_micro, upstream_cost_ticks FROM settlement WHERE task_id = ?",
        (task_id,),
    )
    return Settlement(*row) if row else None


def insert(tx: Writer, task: Task, captured_micro: int, loss_micro: int) -> None:
    """The settlement of a task that has just ended; a second one breaks the primary key."""
    row: tuple[Any, ...] = (
        task.id,
        task.account_id,
        task.key_id,
        task.model,
        task.operation,
        task.upstream,
        task.state.value,
        task.failure.code.value if task.failure else None,
        task.created_at_ms,
        task.ended_at_ms,
        task.held_micro,
        captured_micro,
        task.held_micro - captured_micro,
        loss_micro,
        task.upstream_cost_ticks,
        msgspec.json.encode(task.bill).decode() if task.bill else None,
    )
    tx.run(
        "INSERT INTO settlement (task_id, account_id, key_id, model, operation, upstream, outcome, "
        "error_code, created_at_ms, ended_at_ms, held_micro, captured_micro, released_micro, "
        "loss_micro, upstream_cost_ticks, bill_json) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        row,
    )


def insert_event(tx: Writer, task: Task, now_ms: int) -> None:
    """The one event of a task's end."""
    tx.run(
        "INSERT INTO event (id, task_id, type, created_at_ms) VALUES (?,?,?,?)",
        (new_id("evt", now_ms), task.id, _EVENT_TYPES.get(task.state, _BAD_END_EVENT), now_ms),
    )
