"""One step of a task's life at a time: record, act, record.

Every step starts from what is recorded and is safe to lose: no transaction is open while an
upstream is asked, and a write that finds the task elsewhere ends the drive without a trace.
"""

import asyncio
import contextlib
import logging
import random
from typing import assert_never

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import TaskError
from reelgate.domain.task import State, Task
from reelgate.flows import collect
from reelgate.flows.drive import BACKOFF_MS_MAX, Drive, backoff_ms, end, move, until_deadline
from reelgate.flows.gateway import Gateway
from reelgate.flows.send import after_lost_send, send, wait_stranded
from reelgate.flows.settle import Ending, failed
from reelgate.flows.verdicts import CALL_MS_MAX, CANCEL_MS_MAX, ERROR_OF
from reelgate.providers.base import Cause, Done, Failed, Pending, Trouble
from reelgate.store import tasks

log = logging.getLogger("reelgate.task")

_PROGRESS_STEP = 5
_PROGRESS_NOTE_MS = 30_000
_PROGRESS_MAX = 99
_DOUBT_MS = 60_000


async def step(gateway: Gateway, drive: Drive) -> int | None:
    """Bring the task one step on; the time in ms until the next, None when there is none here."""
    state, adopted = drive.task.state, drive.adopted
    drive.adopted = False
    if drive.ending is not None:
        return await end(gateway, drive, drive.ending)
    match state:
        case State.QUEUED:
            return await send(gateway, drive)
        case State.SENDING:
            return await after_lost_send(gateway, drive)
        case State.RUNNING:
            return await _poll(gateway, drive, adopted=adopted)
        case State.COLLECTING:
            return await _collect(gateway, drive)
        case State.STRANDED:
            return await wait_stranded(gateway, drive)
        case State.COMPLETED | State.FAILED | State.CANCELLED | State.EXPIRED:
            return None
        case _:
            assert_never(state)


async def _poll(gateway: Gateway, drive: Drive, *, adopted: bool) -> int | None:
    task = drive.task
    upstream = gateway.upstreams.get(task.upstream)
    if upstream is None or task.upstream_ref is None:
        return await _trouble(gateway, drive, _not_configured(task))
    if adopted:
        drive.occupy(upstream)
    try:
        async with asyncio.timeout(CALL_MS_MAX / 1000):
            answer = await upstream.provider.poll(task.upstream_ref)
    except TimeoutError:
        return await _trouble(gateway, drive, Trouble(Cause.NETWORK, "no answer to the poll"))
    crash_point("poll.after_answer")
    match answer:
        case Pending():
            drive.troubles, drive.doubted_since_ms = 0, None
            return await _pending(gateway, drive, answer)
        case Trouble():
            if answer.if_repeated and _doubted_for_long(gateway, drive):
                return await _fail(gateway, drive, answer.if_repeated)
            return await _trouble(gateway, drive, answer)
        case Failed():
            return await _fail(gateway, drive, answer)
        case Done():
            drive.troubles = 0
            moved = await move(
                gateway,
                drive,
                State.COLLECTING,
                result_url=answer.result,
                upstream_cost_ticks=answer.cost_ticks,
            )
            if not moved:
                return None
            crash_point("poll.after_collecting_commit")
            drive.release()
            return 0
        case _:
            assert_never(answer)


async def _fail(gateway: Gateway, drive: Drive, answer: Failed) -> int | None:
    ending = failed(ERROR_OF[answer.verdict], answer.message, cost_ticks=answer.cost_ticks)
    return await end(gateway, drive, ending)


def _doubted_for_long(gateway: Gateway, drive: Drive) -> bool:
    """Whether an upstream that knows nothing of the job has said so for a minute."""
    now_ms = gateway.clock.now_ms()
    if drive.doubted_since_ms is None:
        drive.doubted_since_ms = now_ms
    return now_ms - drive.doubted_since_ms >= _DOUBT_MS


async def _pending(gateway: Gateway, drive: Drive, answer: Pending) -> int | None:
    task, now_ms = drive.task, gateway.clock.now_ms()
    if now_ms >= task.deadline_at_ms:
        return await _expire(gateway, drive)
    progress = min(answer.progress or 0, _PROGRESS_MAX)
    moved = progress - task.progress
    stale = now_ms - drive.progress_noted_ms >= _PROGRESS_NOTE_MS
    if moved >= _PROGRESS_STEP or (moved > 0 and stale):
        noted = await gateway.db.write(lambda tx: tasks.note_change(tx, task, progress=progress))
        if noted is None:
            return None
        drive.task, drive.progress_noted_ms = noted, now_ms
        crash_point("poll.after_progress_commit")
        gateway.watch.changed(task.id)
    return _poll_wait_ms(gateway, drive, answer.retry_after_ms)


def _poll_wait_ms(gateway: Gateway, drive: Drive, retry_after_ms: int | None) -> int:
    policy = gateway.policy
    if retry_after_ms is not None:
        wait_ms = min(retry_after_ms, BACKOFF_MS_MAX)
    else:
        operation = gateway.spec_of(drive.task).operations[drive.task.order.operation]
        usual_ms = min(max(operation.poll_ms, policy.poll_ms_min), policy.poll_ms_max)
        wait_ms = int(usual_ms * random.uniform(0.85, 1.0))
    # The last poll comes at the deadline, not after a wait that passes it.
    return until_deadline(gateway, drive, wait_ms)


def _not_configured(task: Task) -> Trouble:
    return Trouble(Cause.NETWORK, f"upstream {task.upstream} is not configured")


async def _trouble(gateway: Gateway, drive: Drive, trouble: Trouble) -> int | None:
    """No answer about the job: back-off, never failure, until the deadline."""
    drive.troubles += 1
    log.warning(
        "upstream gave no answer about the job",
        extra={
            "task_id": drive.task.id,
            "upstream": drive.task.upstream,
            "cause": trouble.cause.value,
            "detail": trouble.detail,
        },
    )
    if gateway.clock.now_ms() >= drive.task.deadline_at_ms:
        return await _expire(gateway, drive)
    wait_ms = max(backoff_ms(drive.troubles), min(trouble.retry_after_ms or 0, BACKOFF_MS_MAX))
    return until_deadline(gateway, drive, wait_ms)


async def _expire(gateway: Gateway, drive: Drive) -> int | None:
    task = drive.task
    upstream = gateway.upstreams.get(task.upstream)
    if upstream is not None and upstream.provider.can_cancel and task.upstream_ref:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_MS_MAX / 1000):
                await upstream.provider.cancel(task.upstream_ref)
    message = "The upstream did not finish the task before its deadline. Nothing was charged."
    return await end(gateway, drive, failed(TaskError.EXPIRED, message, state=State.EXPIRED))


async def _collect(gateway: Gateway, drive: Drive) -> int | None:
    task = drive.task
    upstream = gateway.upstreams.get(task.upstream)
    if upstream is None:
        return await _trouble(gateway, drive, _not_configured(task))
    outcome = await collect.collect(gateway, task, upstream.provider, drive.download)
    match outcome:
        case Ending():
            if outcome.result is None:
                await collect.discard(gateway, task)
            return await end(gateway, drive, outcome)
        case Task():
            drive.task = outcome
            # Links may die faster than they are fetched.
            attempt = drive.download.attempt
            return 0 if attempt <= 1 else until_deadline(gateway, drive, backoff_ms(attempt - 1))
        case collect.Again():
            log.warning(
                "result could not be collected yet",
                extra={"task_id": task.id, "upstream": upstream.name, "detail": outcome.detail},
            )
            return backoff_ms(outcome.attempt)
        case None:
            return None
        case _:
            assert_never(outcome)
