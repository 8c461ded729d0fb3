"""Waiting well: hints for those who poll, held answers, and a stream of events."""

import re
import time
from functools import partial

from reelgate.api.asgi import Call
from reelgate.domain.task import Task
from reelgate.flows.gateway import Gateway
from reelgate.flows.watch import wait_for
from reelgate.store import tasks

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])", re.IGNORECASE)
_POLL_AFTER_MS_MIN, _POLL_AFTER_MS_MAX = 2_000, 5_000


def prefer_wait_s(call: Call) -> int:
    """Seconds of `Prefer: wait=N`, at most what the operator allows; 0 without it."""
    prefer = call.header(b"prefer")
    match = _WAIT.search(prefer) if prefer else None
    return min(int(match[1]), call.api.prefer_wait_s_max) if match else 0


async def wait_for_end(call: Call, task: Task, wait_s: int) -> Task:
    """The task when it has ended, or as it is when the time is over."""
    gateway = call.gateway
    deadline = time.monotonic() + wait_s
    changed = gateway.watch.subscribe(task.id)
    try:
        while True:
            found = await gateway.db.point(partial(tasks.get, task_id=task.id))
            task = found or task
            left_s = deadline - time.monotonic()
            if task.ended or left_s <= 0 or gateway.watch.closed:
                return task
            await wait_for(changed, left_s)
    finally:
        gateway.watch.unsubscribe(task.id, changed)


def pending_headers(gateway: Gateway, task: Task) -> tuple[tuple[bytes, bytes], ...]:
    """When to poll next, by what the operation usually takes; both SDKs' ways of being told."""
    operation = gateway.spec_of(task).operations[task.order.operation]
    after_ms = min(max(operation.poll_ms, _POLL_AFTER_MS_MIN), _POLL_AFTER_MS_MAX)
    return (
        (b"openai-poll-after-ms", b"%d" % after_ms),
        (b"retry-after", b"%d" % -(-after_ms // 1000)),
    )
