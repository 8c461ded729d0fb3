"""What only an operator may do to tasks: find any of them, see everything, decide the unclear."""

import logging
from dataclasses import dataclass, replace
from typing import Any, assert_never

from reelgate.domain.errors import Code, Refusal, TaskError
from reelgate.domain.task import Failure, State, Task
from reelgate.flows import cancel as cancelling
from reelgate.flows import inputs
from reelgate.flows.gateway import Gateway
from reelgate.flows.settle import Ending, log_fields, settle_in
from reelgate.store import audit, ledger, settlements, tasks
from reelgate.store.audit import LOCAL
from reelgate.store.database import CHANGED, WAKE, Reader, Writer
from reelgate.store.settlements import Settlement

log = logging.getLogger("reelgate.task")

_AUDIT_SHOWN_MAX = 100
_RAN = (
    "The connection to the upstream broke while the task was being sent, and its result is lost. "
    "You are not charged. Send it again as a new task."
)
_NOT_RUN = "The task did not reach the upstream. You are not charged. Send it again as a new task."


@dataclass(frozen=True, slots=True)
class History:
    """A task and everything that became of it. Moves are (at_ms, from, to, note), oldest first."""

    task: Task
    moves: list[tuple[int, str, str, str]]
    entries: list[ledger.Entry]
    settlement: Settlement | None
    audit: list[audit.Entry]


async def history(gateway: Gateway, task_id: str) -> History:
    """Any account's task, deleted ones included. Raises Refusal (`task_not_found`)."""

    def read(tx: Reader) -> History:
        return History(
            _task_in(tx, task_id),
            tasks.history(tx, task_id),
            ledger.of_task(tx, task_id),
            settlements.get(tx, task_id),
            audit.page(tx, subject=task_id, limit=_AUDIT_SHOWN_MAX),
        )

    return await gateway.db.read(read)


async def cancel(gateway: Gateway, task_id: str, *, actor: str = LOCAL) -> Task:
    """Stop any account's task. Raises Refusal (`task_not_found`, `not_cancellable`)."""
    task = await gateway.db.read(lambda tx: _task_in(tx, task_id))
    now_ms = gateway.clock.now_ms()
    return await cancelling.cancel(
        gateway, task, lambda tx: audit.append(tx, actor, "task.cancel", task_id, now_ms)
    )


# ---- the stranded -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lost:
    """The upstream has nothing to give; `upstream_ran` says whether it may charge for it."""

    upstream_ran: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The upstream has the job, under this reference."""

    upstream_ref: str


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The upstream certainly does not have the job."""


Resolution = Lost | Found | SendAgain


async def resolve(
    gateway: Gateway, task_id: str, resolution: Resolution, *, note: str = "", actor: str = LOCAL
) -> Task:
    """Decide what becomes of a stranded task, on the word of an operator who looked it up.

    Lost: it fails with `outcome_unknown`, the hold is given back, and the highest it may have cost
    is booked as a loss if the upstream ran it. Found: its result is waited for. SendAgain: it goes
    back in the queue. Both have a new deadline. Whoever has the task in hand loses it.

    Raises Refusal: `task_not_found`, `not_resolvable`, `invalid_value`.
    """
    if isinstance(resolution, Found) and not resolution.upstream_ref.strip():
        raise Refusal(Code.MISSING_REQUIRED_PARAMETER, "upstream_ref is required", "upstream_ref")
    now_ms = gateway.clock.now_ms()
    deadline_ms = now_ms + gateway.policy.task_deadline_ms

    def decide(tx: Writer) -> Task:
        task = _task_in(tx, task_id)
        after = None
        if task.state is State.STRANDED:
            after = _decide_in(tx, task, resolution, now_ms, deadline_ms, note)
        if after is None:
            raise Refusal(
                Code.NOT_RESOLVABLE,
                f"task {task_id} is {task.state}; only a stranded one can be resolved",
            )
        audit.append(tx, actor, "task.resolve", task_id, now_ms, to=after.state, note=note)
        tx.notify(CHANGED, task_id)
        tx.notify(WAKE)
        return after

    after = await gateway.db.write(decide)
    before = replace(after, state=State.STRANDED)
    log.info("task resolved", extra=log_fields(before, after.state, note))
    if after.ended:
        await inputs.forget(gateway, after)
    gateway.watch.changed(task_id)
    gateway.watch.work()
    return after


def _decide_in(
    tx: Writer, task: Task, resolution: Resolution, now_ms: int, deadline_ms: int, note: str
) -> Task | None:
    changes: dict[str, Any]
    match resolution:
        case Lost():
            return settle_in(tx, task, _lost(task, resolution, note), now_ms=now_ms)
        case Found():
            after, changes = State.RUNNING, {"upstream_ref": resolution.upstream_ref}
        case SendAgain():
            after, changes = State.QUEUED, {"upstream": None, "attempts": task.attempts + 1}
        case _:
            assert_never(resolution)
    # The new epoch is what whoever has the task in hand stumbles over.
    return tasks.move(
        tx,
        task,
        after,
        now_ms,
        note,
        epoch=task.epoch + 1,
        lease_owner=None,
        due_at_ms=now_ms,
        deadline_at_ms=deadline_ms,
        **changes,
    )


def _lost(task: Task, resolution: Lost, note: str) -> Ending:
    return Ending(
        State.FAILED,
        Failure(TaskError.OUTCOME_UNKNOWN, _RAN if resolution.upstream_ran else _NOT_RUN),
        loss_micro=task.held_micro if resolution.upstream_ran else 0,
        note=note or "resolved by the operator",
    )


def _task_in(tx: Reader, task_id: str) -> Task:
    task = tasks.get(tx, task_id)
    if task is None:
        raise Refusal(Code.TASK_NOT_FOUND, f"there is no task {task_id[:60]}")
    return task
