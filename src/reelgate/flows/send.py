"""queued -> sending -> running, or stranded: the one upstream submit of a task.

`sending` is committed before the upstream is asked. Whatever leaves it unclear whether the
upstream has the job ends in `stranded`, and nothing here sends such a task again.
"""

import asyncio
import logging
from functools import partial
from typing import assert_never

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import StoreError, TaskError
from reelgate.domain.task import State, Task
from reelgate.flows import inputs, sources
from reelgate.flows.drive import Drive, backoff_ms, end, move, until_deadline
from reelgate.flows.gateway import Gateway
from reelgate.flows.settle import Ending, failed
from reelgate.flows.upstreams import Attempt, Upstream, Wait, what_is_wrong
from reelgate.flows.verdicts import CALL_MS_MAX, ERROR_OF
from reelgate.providers.base import (
    Accepted,
    Cause,
    CheckReport,
    Job,
    NotTaken,
    Refused,
    Uncertain,
)
from reelgate.store import pacing, tasks
from reelgate.store.database import Writer

log = logging.getLogger("reelgate.task")

_WAIT_IN_HAND_MS = 5_000
_CHECK_MS_MAX = 30_000
_STRANDED_LOOK_MS = 10_000


class NoPlace(Exception):
    """The limits that all nodes share let no job through for `wait_ms`."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__(wait_ms)
        self.wait_ms = wait_ms


async def send(gateway: Gateway, drive: Drive) -> int | None:
    """A queued task goes to an upstream, or waits for a place at one."""
    drive.release()
    if gateway.clock.now_ms() >= drive.task.deadline_at_ms:
        return await end(gateway, drive, overdue(drive.task))
    if not drive.source_looked_at:
        drive.in_line = False
        measured = await sources.measured(gateway, drive.task)
        if isinstance(measured, Ending):
            return await end(gateway, drive, measured)
        if measured is None:
            return None
        drive.task, drive.source_looked_at = measured, True
    drive.in_line, lane = True, drive.task.lane
    upstream = gateway.upstreams.choose(lane, drive.declined)
    if upstream is None:
        what = f"{lane.operation} with {lane.model}" + (f" at {lane.tier}" if lane.tier else "")
        message = f"No upstream is set up for {what}. Nothing was charged."
        return await end(gateway, drive, failed(TaskError.UPSTREAM_UNAVAILABLE, message))
    if isinstance(upstream, Wait):
        return await _wait_for_place(gateway, drive, upstream.ms)
    return await _send_to(gateway, drive, upstream)


def overdue(task: Task) -> Ending:
    """How a task ends that has waited in the queue until its deadline."""
    if task.upstream is not None:
        return _outcome_unknown(task)
    message = "No upstream could take the task before its deadline. Nothing was charged."
    return failed(TaskError.EXPIRED, message, state=State.EXPIRED)


async def _wait_for_place(gateway: Gateway, drive: Drive, wait_ms: int) -> int | None:
    """Wait in hand for a moment; for longer, go back in the queue and make room for others."""
    task = drive.task
    drive.waited_ms += wait_ms
    if drive.waited_ms <= _WAIT_IN_HAND_MS:
        return until_deadline(gateway, drive, wait_ms)
    await gateway.db.write(lambda tx: tasks.put_back(tx, task))
    return None


async def _send_to(gateway: Gateway, drive: Drive, upstream: Upstream) -> int | None:
    attempt = upstream.begin()
    drive.occupy(upstream)
    try:
        if attempt.probe and not await _works(drive, attempt):
            drive.declined |= {upstream.name}
            return 0
        return await _ask(gateway, drive, attempt)
    except NoPlace as full:
        drive.release()
        upstream.bucket.hold(full.wait_ms)
        return await _wait_for_place(gateway, drive, full.wait_ms)
    finally:
        attempt.close()


async def _works(drive: Drive, attempt: Attempt) -> bool:
    """Ask an upstream that rested what costs nothing, before a job is put at risk."""
    upstream = attempt.upstream
    try:
        async with asyncio.timeout(_CHECK_MS_MAX / 1000):
            report = await upstream.provider.check((upstream.models[drive.task.model],))
    except TimeoutError:
        report = CheckReport(False, None, (), "no answer to a check")
    cause = what_is_wrong(report)
    if cause is not None:
        attempt.bad(cause, report.detail)
    return cause is None


async def _ask(gateway: Gateway, drive: Drive, attempt: Attempt) -> int | None:
    upstream, repeated = attempt.upstream, drive.task.upstream is not None
    job = _job(gateway, drive.task, upstream)
    crash_point("send.before_sending_commit")
    if not await move(
        gateway,
        drive,
        State.SENDING,
        first=partial(_enter, upstream) if gateway.db.shared else None,
        locks=upstream.name if gateway.db.shared else "",
        upstream=upstream.name,
        sent_at_ms=gateway.clock.now_ms(),
    ):
        return None
    crash_point("send.after_sending_commit")
    try:
        async with asyncio.timeout(CALL_MS_MAX / 1000):
            answer = await upstream.provider.submit(job)
    except StoreError as error:
        # Read before anything was sent: the input's bytes are gone or can't be read.
        return await end(gateway, drive, _input_lost(error))
    except TimeoutError:
        answer = Uncertain(Cause.NETWORK, "no answer to the submit")
    match answer:
        case Accepted():
            attempt.good()
            return await _accepted(gateway, drive, answer, repeated=repeated)
        case Refused():
            attempt.good()
            ending = failed(ERROR_OF[answer.verdict], answer.message, cost_ticks=answer.cost_ticks)
            return await end(gateway, drive, ending)
        case NotTaken():
            attempt.bad(answer.cause, answer.detail, answer.retry_after_ms)
            return await _not_taken(gateway, drive, upstream, answer)
        case Uncertain():
            attempt.bad(answer.cause, answer.detail)
            if upstream.provider.repeat_safe:
                return await _back_to_queue(gateway, drive, answer.detail, upstream.name)
            return await _strand(gateway, drive, answer.detail)
        case _:
            assert_never(answer)


def _enter(upstream: Upstream, tx: Writer, now_ms: int) -> None:
    """Raises NoPlace."""
    wait_ms = pacing.enter(
        tx,
        upstream.name,
        per_second=upstream.bucket.per_second,
        in_flight_max=upstream.max_in_flight,
        now_ms=now_ms,
    )
    if wait_ms:
        raise NoPlace(wait_ms)


async def _accepted(
    gateway: Gateway, drive: Drive, answer: Accepted, *, repeated: bool
) -> int | None:
    crash_point("send.after_upstream_accepted")
    if not await move(gateway, drive, State.RUNNING, upstream_ref=answer.ref):
        return None
    crash_point("send.after_running_commit")
    drive.progress_noted_ms = gateway.clock.now_ms()
    if answer.poll_after_ms is not None:
        return until_deadline(gateway, drive, answer.poll_after_ms)
    # Of a job that was there already nobody knows for how long.
    operation = gateway.spec_of(drive.task).operations[drive.task.order.operation]
    return until_deadline(gateway, drive, 0 if repeated else operation.usual_ms)


async def _not_taken(
    gateway: Gateway, drive: Drive, upstream: Upstream, answer: NotTaken
) -> int | None:
    log.warning(
        "upstream did not take the job",
        extra={
            "task_id": drive.task.id,
            "upstream": upstream.name,
            "cause": answer.cause.value,
            "detail": answer.detail,
        },
    )
    drive.declined |= {upstream.name}
    others = gateway.upstreams.choose(drive.task.lane._replace(upstream=""), drive.declined)
    at_once = isinstance(others, Upstream) and others.name not in drive.declined
    wait_ms = await _back_to_queue(gateway, drive, answer.cause.value, None)
    return 0 if at_once and wait_ms is not None else wait_ms


async def _back_to_queue(
    gateway: Gateway, drive: Drive, note: str, pinned: str | None
) -> int | None:
    drive.release()
    drive.in_line = False
    attempts = drive.task.attempts + 1
    if not await move(gateway, drive, State.QUEUED, note, upstream=pinned, attempts=attempts):
        return None
    crash_point("send.after_queued_commit")
    return until_deadline(gateway, drive, backoff_ms(attempts))


async def after_lost_send(gateway: Gateway, drive: Drive) -> int | None:
    """Somebody committed `sending` and was never heard of again."""
    upstream = gateway.upstreams.get(drive.task.upstream)
    if upstream is not None and upstream.provider.repeat_safe:
        return await _back_to_queue(gateway, drive, "worker lost while sending", upstream.name)
    return await _strand(gateway, drive, "worker lost while sending")


async def _strand(gateway: Gateway, drive: Drive, note: str) -> int | None:
    drive.release()
    if not await move(gateway, drive, State.STRANDED, note):
        return None
    crash_point("send.after_stranded_commit")
    return await wait_stranded(gateway, drive)


async def wait_stranded(gateway: Gateway, drive: Drive) -> int | None:
    """Until its deadline a stranded task is the operator's to resolve; then it fails."""
    task = drive.task
    left_ms = task.deadline_at_ms - gateway.clock.now_ms()
    if left_ms > 0:
        now = await gateway.db.point(partial(tasks.get, task_id=task.id))
        if now is None or (now.state, now.epoch) != (task.state, task.epoch):
            return None
        return min(left_ms, _STRANDED_LOOK_MS)
    return await end(gateway, drive, _outcome_unknown(task))


def _outcome_unknown(task: Task) -> Ending:
    return Ending(
        State.FAILED,
        tasks.failure(
            TaskError.OUTCOME_UNKNOWN,
            "The connection to the upstream broke while the task was being sent, and whether it "
            "ran can't be known. You are not charged. Send it again as a new task.",
        ),
        loss_micro=task.held_micro,
        note="possible upstream cost of a stranded task",
    )


def _job(gateway: Gateway, task: Task, upstream: Upstream) -> Job:
    order = task.order
    width = height = None
    ratio = order.aspect_ratio
    if order.tier and ratio and ratio != "auto":
        width, height = gateway.spec_of(task).pixels(order.tier, ratio)
    return Job(
        task_id=task.id,
        operation=order.operation,
        model=upstream.models[order.model],
        prompt=order.prompt,
        seconds=order.seconds,
        tier=order.tier if order.seconds is not None else None,
        aspect_ratio=ratio,
        width=width,
        height=height,
        images=tuple(inputs.for_job(gateway, image) for image in order.images),
        video=inputs.for_job(gateway, order.video) if order.video else None,
        user=order.user,
    )


def _input_lost(error: StoreError) -> Ending:
    return failed(
        TaskError.INPUT_UNREACHABLE,
        "An input of the task can't be read any more. Nothing was charged.",
        note=str(error),
    )
