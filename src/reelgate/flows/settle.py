"""The end of a task: the only place that writes an end state, and the only one that takes money.

The guarded move, the capture and release of the hold, the settlement and the event are one
transaction; whoever comes second changes nothing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import TaskError
from reelgate.domain.quote import Bill
from reelgate.domain.task import Failure, Result, State, Task
from reelgate.flows.gateway import Gateway
from reelgate.store import key_usage, ledger, settlements, tasks
from reelgate.store.database import CHANGED, Writer

log = logging.getLogger("reelgate.task")

_NO_BILL = Bill(())
_PROGRESS_AT_END = 100
_TEXT_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ends. `cost_ticks` is what the upstream charged the operator, 10^-10 USD."""

    state: State
    failure: Failure | None = None
    result: Result | None = None
    bill: Bill = _NO_BILL
    cost_ticks: int | None = None
    loss_micro: int = 0
    note: str = ""


def failed(
    code: TaskError,
    message: str,
    *,
    state: State = State.FAILED,
    cost_ticks: int | None = None,
    note: str = "",
) -> Ending:
    """An end without a video; the whole hold is given back. `note` is for the operator."""
    return Ending(state, Failure(code, _kept(message)), cost_ticks=cost_ticks, note=_kept(note))


def _kept(text: str) -> str:
    """What others said, as every database can keep it: an end must not fail over its words."""
    whole = text.encode("utf-8", "replace").decode().replace("\0", "")
    return whole[:_TEXT_CHARS_MAX]


async def settle(
    gateway: Gateway, task: Task, ending: Ending, also: Callable[[Writer], None] | None = None
) -> Task | None:
    """End a task. None when it was no longer the caller's to end; then nothing has changed.

    `also` is written in the same transaction.
    """
    now_ms = gateway.clock.now_ms()
    ttl_ms = gateway.policy.result_ttl_ms
    expires_at_ms = now_ms + ttl_ms if ending.result and ttl_ms else None
    crash_point("settle.before_commit")

    def write(tx: Writer) -> Task | None:
        ended = settle_in(tx, task, ending, now_ms=now_ms, expires_at_ms=expires_at_ms)
        if ended is not None and also is not None:
            also(tx)
        return ended

    ended = await gateway.db.write(write, locks=task.account_id)
    crash_point("settle.after_commit")
    if ended is not None:
        note = ending.failure.code.value if ending.failure else ""
        log.info("task ended", extra=log_fields(task, ending.state, note))
        gateway.watch.changed(task.id)
    return ended


def log_fields(task: Task, after: State, note: str) -> dict[str, Any]:
    """What every log line about a move says."""
    return {
        "task_id": task.id,
        "request_id": task.request_id,
        "from_state": task.state.value,
        "to_state": after.value,
        "note": note,
    }


def settle_in(
    tx: Writer, task: Task, ending: Ending, *, now_ms: int, expires_at_ms: int | None = None
) -> Task | None:
    """`settle` inside a transaction that is already open."""
    cost_ticks = task.upstream_cost_ticks if ending.cost_ticks is None else ending.cost_ticks
    ended = tasks.move(
        tx,
        task,
        ending.state,
        now_ms,
        ending.note,
        progress=_PROGRESS_AT_END,
        result=ending.result,
        bill=ending.bill,
        failure=ending.failure,
        upstream_cost_ticks=cost_ticks,
        ended_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
        lease_owner=None,
    )
    if ended is None:
        return None
    captured = ending.bill.total_micro
    released = ended.held_micro - captured
    ledger.close_hold(tx, task.account_id, task.id, captured, released, now_ms)
    key_usage.end_task(tx, task.key_id, key_usage.day_of(task.created_at_ms), released)
    if ending.loss_micro:
        ledger.book_loss(tx, task.id, ending.loss_micro, now_ms, ending.note)
    settlements.insert(tx, ended, captured, ending.loss_micro)
    settlements.insert_event(tx, ended, now_ms)
    tx.notify(CHANGED, task.id)
    return ended
