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
from reelgate.flows.upstreams import Upstream, Wait
from reelgate.flows.verdicts import CALL_MS_MAX, ERROR_OF
from reelgate.providers.base import Accepted, Cause, Job, NotTaken, Refused, Uncertain
from reelgate.store import pacing, tasks
from reelgate.store.database import Writer

log = logging.getLogger("reelgate.task")

_WAIT_IN_HAND_MS = 5_000
_PUT_BACK_MS = 3_000
_FULL_LOOK_MS = 500
_STRANDED_LOOK_MS = 10_000


async def send(gateway: Gateway, drive: Drive) -> int | None:
    """A queued task goes to an upstream, or waits for a place at one."""
    task = drive.task
    now_ms = gateway.clock.now_ms()
    if now_ms >= task.deadline_at_ms:
        message = "No upstream could take the task before its deadline. Nothing was charged."
        return await end(gateway, drive, failed(TaskError.EXPIRED, message, state=State.EXPIRED))
    if not drive.source_looked_at:
        measured = await sources.measured(gateway, task)
        if isinstance(measured, Ending):
            return await end(gateway, drive, measured)
        if measured is None:
            return None
        drive.task, drive.source_looked_at = measured, True
        task = measured
    upstream = _choose(gateway, drive)
    if upstream is None:
        message = f"No upstream is set up for {task.operation} with {task.model}."
        return await end(gateway, drive, failed(TaskError.UPSTREAM_UNAVAILABLE, message))
    if isinstance(upstream, Wait):
        return await _wait_for_place(gateway, drive, upstream.ms)
    return await _send_to(gateway, drive, upstream)


async def _wait_for_place(gateway: Gateway, drive: Drive, wait_ms: int) -> int | None:
    """Wait in hand for a moment; for longer, go back in the queue and make room for others."""
    task, now_ms = drive.task, gateway.clock.now_ms()
    wait_ms = min(wait_ms, max(1, task.deadline_at_ms - now_ms))
    drive.waited_ms += wait_ms
    if drive.waited_ms <= _WAIT_IN_HAND_MS:
        return wait_ms
    due_at_ms = min(now_ms + max(wait_ms, _PUT_BACK_MS), task.deadline_at_ms)
    await gateway.db.write(
        lambda tx: tasks.note_change(tx, task, due_at_ms=due_at_ms, lease_owner=None)
    )
    return None


def _choose(gateway: Gateway, drive: Drive) -> Upstream | Wait | None:
    if drive.task.upstream is None:
        return gateway.upstreams.choose(drive.task.order, drive.declined)
    # It may have the job already, and repeats are safe there and nowhere else.
    pinned = gateway.upstreams.get(drive.task.upstream)
    wait_ms = pinned.wait_ms() if pinned else _PUT_BACK_MS
    return Wait(wait_ms) if wait_ms or pinned is None else pinned


async def _send_to(gateway: Gateway, drive: Drive, upstream: Upstream) -> int | None:
    upstream.bucket.take()
    if gateway.db.shared and (wait_ms := await _shared_wait_ms(gateway, upstream)):
        return await _wait_for_place(gateway, drive, wait_ms)
    upstream.breaker.sending()
    drive.occupy(upstream)
    try:
        return await _ask(gateway, drive, upstream)
    finally:
        upstream.breaker.sent()


async def _ask(gateway: Gateway, drive: Drive, upstream: Upstream) -> int | None:
    job = _job(gateway, drive.task, upstream)
    now_ms = gateway.clock.now_ms()
    crash_point("send.before_sending_commit")
    if not await move(gateway, drive, State.SENDING, upstream=upstream.name, sent_at_ms=now_ms):
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
            return await _accepted(gateway, drive, upstream, answer)
        case Refused():
            upstream.breaker.good()
            ending = failed(ERROR_OF[answer.verdict], answer.message, cost_ticks=answer.cost_ticks)
            return await end(gateway, drive, ending)
        case NotTaken():
            return await _not_taken(gateway, drive, upstream, answer)
        case Uncertain():
            upstream.breaker.bad(answer.cause)
            if upstream.provider.repeat_safe:
                return await _back_to_queue(gateway, drive, answer.detail, upstream.name)
            return await _strand(gateway, drive, answer.detail)
        case _:
            assert_never(answer)


async def _shared_wait_ms(gateway: Gateway, upstream: Upstream) -> int:
    """0 when the limits that all nodes share let one more job through, else when to look again."""
    now_ms = gateway.clock.now_ms()

    def take(tx: Writer) -> int:
        if pacing.in_flight(tx, upstream.name) >= upstream.max_in_flight:
            return _FULL_LOOK_MS
        return pacing.take(tx, upstream.name, upstream.bucket.interval_us, now_ms)

    return await gateway.db.write(take)


async def _accepted(
    gateway: Gateway, drive: Drive, upstream: Upstream, answer: Accepted
) -> int | None:
    upstream.breaker.good()
    crash_point("send.after_upstream_accepted")
    if not await move(gateway, drive, State.RUNNING, upstream_ref=answer.ref):
        return None
    crash_point("send.after_running_commit")
    drive.progress_noted_ms = gateway.clock.now_ms()
    operation = gateway.spec_of(drive.task).operations[drive.task.order.operation]
    usual_ms = operation.usual_ms if answer.poll_after_ms is None else answer.poll_after_ms
    return until_deadline(gateway, drive, usual_ms)


async def _not_taken(
    gateway: Gateway, drive: Drive, upstream: Upstream, answer: NotTaken
) -> int | None:
    upstream.breaker.bad(answer.cause, answer.retry_after_ms)
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
    others = gateway.upstreams.choose(drive.task.order, drive.declined)
    at_once = isinstance(others, Upstream) and others.name not in drive.declined
    wait_ms = await _back_to_queue(gateway, drive, answer.cause.value, None)
    return 0 if at_once and wait_ms is not None else wait_ms


async def _back_to_queue(
    gateway: Gateway, drive: Drive, note: str, pinned: str | None
) -> int | None:
    drive.release()
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
    ending = Ending(
        State.FAILED,
        tasks.failure(
            TaskError.OUTCOME_UNKNOWN,
            "The connection to the upstream broke while the task was being sent, and whether it "
            "ran can't be known. You are not charged. Send it again as a new task.",
        ),
        loss_micro=task.held_micro,
        note="possible upstream cost of a stranded task",
    )
    return await end(gateway, drive, ending)


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
