"""A task's status and progress as server-sent events, until its end.

An event's id is the task's revision: a client that comes back with `Last-Event-ID` is told only
what it has not seen. Waiting costs no database read of its own; see `flows/watch.py`.
"""

from collections.abc import AsyncIterator
from functools import partial

from starlette.responses import Response, StreamingResponse

from reelgate.api import wire
from reelgate.api.asgi import Answer, Call
from reelgate.api.links import link_url
from reelgate.domain.task import Task
from reelgate.flows import deliver
from reelgate.flows.watch import wait_for
from reelgate.store import tasks

_KEEP_ALIVE_S = 15.0
_RETRY_MS = 2_000
_HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


async def events(call: Call) -> Answer:
    """The stream of one task; 204 for a client that has seen its end."""
    call.task_id = task_id = call.params["task_id"]
    task = await deliver.find(call.gateway, call.caller.account_id, task_id)
    last = call.header(b"last-event-id") or ""
    seen = int(last) if last.isascii() and last.isdecimal() and len(last) < 19 else -1
    if task.ended and seen >= task.revision:
        return Response(status_code=204, headers=_HEADERS)  # or it would come back for ever
    if call.scope["method"] == "HEAD":
        return Response(headers=_HEADERS, media_type="text/event-stream")
    return StreamingResponse(
        _stream(call, task, seen), headers=_HEADERS, media_type="text/event-stream"
    )


async def _stream(call: Call, task: Task, seen: int) -> AsyncIterator[bytes]:
    gateway = call.gateway
    changed = gateway.watch.subscribe(task.id)
    try:
        yield b"retry: %d\n\n" % _RETRY_MS
        while True:
            found = await gateway.db.point(partial(tasks.get, task_id=task.id))
            if found is None or found.deleted_at_ms is not None:
                return
            if found.revision > seen:
                seen = found.revision
                yield _event(call, found)
            if found.ended or gateway.watch.closed:
                return
            while not await wait_for(changed, _KEEP_ALIVE_S):
                yield b": still there\n\n"
    finally:
        gateway.watch.unsubscribe(task.id, changed)


def _event(call: Call, task: Task) -> bytes:
    """`event` is the public status; `data` the task object in one line."""
    data = wire.video_json(task, link_url(call, task))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (task.revision, task.status.encode(), data)
