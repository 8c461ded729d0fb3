"""Stop a task early: free while queued, later only where the upstream certainly stops."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import Code, Refusal, TaskError
from reelgate.domain.task import State, Task
from reelgate.flows import inputs
from reelgate.flows.gateway import Gateway
from reelgate.flows.settle import failed, settle
from reelgate.flows.verdicts import CANCEL_MS_MAX
from reelgate.flows.watch import wait_for
from reelgate.store import tasks
from reelgate.store.database import Writer

_MESSAGE = "The task was cancelled. Nothing was charged."
_RACES_MAX = 5
_SENDING_WAIT_S = 15.0


async def cancel(
    gateway: Gateway, task: Task, also: Callable[[Writer], None] | None = None
) -> Task:
    """The cancelled task. Raises Refusal (`not_cancellable`). `also`: see `settle`."""
    for _ in range(_RACES_MAX):
        if task.ended:
            raise _too_late(task, f"it is {task.status} already")
        if task.state is State.SENDING:
            # To its owner it is queued still, and in a moment it is that again, or running.
            task = await _after_sending(gateway, task)
            continue
        if task.state is not State.QUEUED:
            await _stop_upstream(gateway, task)
        ending = failed(TaskError.CANCELLED, _MESSAGE, state=State.CANCELLED)
        ended = await settle(gateway, task, ending, also)
        if ended is not None:
            await inputs.forget(gateway, ended)
            return ended
        # It moved while we looked: look again.
        moved = await gateway.db.point(partial(tasks.get, task_id=task.id))
        if moved and moved.failure and moved.failure.code is TaskError.CANCELLED:
            return moved  # the worker heard of it from the upstream first
        task = moved or task
    raise _too_late(task, "it is changing at this moment")


async def _after_sending(gateway: Gateway, task: Task) -> Task:
    """The task when its submit has been answered. Raises Refusal when that takes too long."""
    changed = gateway.watch.subscribe(task.id)
    try:
        async with asyncio.timeout(_SENDING_WAIT_S):
            while task.state is State.SENDING and not gateway.watch.closed:
                found = await gateway.db.point(partial(tasks.get, task_id=task.id))
                task = found or task
                if task.state is State.SENDING:
                    await wait_for(changed, _SENDING_WAIT_S)
    except TimeoutError:
        raise _too_late(task, "it is being sent to the upstream; try again") from None
    finally:
        gateway.watch.unsubscribe(task.id, changed)
    return task


async def _stop_upstream(gateway: Gateway, task: Task) -> None:
    upstream = gateway.upstreams.get(task.upstream)
    if task.state is not State.RUNNING or upstream is None or task.upstream_ref is None:
        raise _too_late(task, "it has been sent to the upstream")
    stopped = False
    if upstream.provider.can_cancel:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_MS_MAX / 1000):
                stopped = await upstream.provider.cancel(task.upstream_ref)
    if not stopped:
        raise _too_late(task, "the upstream has it and does not stop it")
    crash_point("cancel.after_upstream_stopped")


def _too_late(task: Task, why: str) -> Refusal:
    return Refusal(Code.NOT_CANCELLABLE, f"Task {task.id} can't be cancelled: {why}.")
