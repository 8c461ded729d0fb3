"""The routes of a task's life: create, look, list, delete, cancel, estimate."""

from functools import partial

from reelgate.api import wire
from reelgate.api.asgi import Answer, Call, Json
from reelgate.api.body import read_body
from reelgate.api.errors import image_endpoint
from reelgate.api.fields import CREATE, Preset
from reelgate.api.links import link_url
from reelgate.api.paging import newest_first, page_limit
from reelgate.api.waiting import pending_headers, prefer_wait_s, wait_for_end
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.ids import is_task_id
from reelgate.domain.model import Operation
from reelgate.domain.task import Task
from reelgate.flows import cancel as cancelling
from reelgate.flows import deliver
from reelgate.flows.submit import Repeatable, price, submit
from reelgate.store import tasks

_IDEMPOTENCY_KEY_CHARS_MAX = 255
EDIT = Preset(operation=Operation.EDIT_VIDEO)
EXTEND = Preset(operation=Operation.VIDEO_EXTEND)


async def create(call: Call) -> Answer:
    """A new task, or the one that the same request made before."""
    return await _create(call, CREATE)


async def create_edit(call: Call) -> Answer:
    """OpenAI's `videos/edits`."""
    return await _create(call, EDIT)


async def create_extension(call: Call) -> Answer:
    """OpenAI's `videos/extensions`."""
    return await _create(call, EXTEND)


async def create_remix(call: Call) -> Answer:
    """OpenAI's `videos/{id}/remix`: an edit of an earlier result."""
    preset = Preset(operation=Operation.EDIT_VIDEO, source_task_id=call.params["task_id"])
    await deliver.find(call.gateway, call.caller.account_id, call.params["task_id"])
    return await _create(call, preset)


async def _create(call: Call, preset: Preset) -> Answer:
    repeatable = _repeatable(call)
    wait_s = prefer_wait_s(call)
    draft, problems = await call.api.reader.receive(call.scope, call.receive, preset)
    call.task_may_exist = True
    made = await submit(
        call.gateway, call.caller, draft, problems, repeatable, request_id=call.request_id
    )
    task = made.task
    call.task_id = task.id
    headers = [(b"x-should-retry", b"false")]
    if made.replayed:
        headers.append((b"idempotent-replayed", b"true"))
    if wait_s:
        task = await wait_for_end(call, task, wait_s)
    return _video(call, task, tuple(headers))


async def retrieve(call: Call) -> Answer:
    """The task now, or, with `Prefer: wait`, when it has ended."""
    call.task_id = task_id = call.params["task_id"]
    account_id, wait_s = call.caller.account_id, prefer_wait_s(call)
    if not wait_s and (unchanged := await call.api.answers.unchanged(account_id, task_id)):
        return unchanged
    task = await deliver.find(call.gateway, account_id, task_id)
    if not task.ended and wait_s:
        task = await wait_for_end(call, task, wait_s)
    answer = _video(call, task)
    call.api.answers.keep(task, answer)
    return answer


def _video(call: Call, task: Task, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Json:
    if not task.ended:
        headers = (*headers, *pending_headers(call.gateway, task))
    return Json(wire.video_json(task, link_url(call, task)), headers=headers)


def _repeatable(call: Call) -> Repeatable:
    key = call.header(b"idempotency-key")
    if key is not None and not 1 <= len(key) <= _IDEMPOTENCY_KEY_CHARS_MAX:
        raise Refusal(
            Code.INVALID_VALUE,
            f"Idempotency-Key has {len(key)} characters; 1 to {_IDEMPOTENCY_KEY_CHARS_MAX} are "
            "allowed.",
            "Idempotency-Key",
        )
    retries = call.header(b"x-stainless-retry-count") or "0"
    return Repeatable(key, int(retries) if retries.isdecimal() and len(retries) < 5 else 0)


async def estimate(call: Call) -> Answer:
    """The price of a create body: the same checks, the same lines, nothing made."""
    draft, problems = await call.api.reader.receive(call.scope, call.receive, CREATE)
    priced = await price(call.gateway, call.caller, draft, problems)
    order = priced.order
    return Json(wire.encode(wire.estimate(order.model, order.operation.value, priced.quoted)))


async def list_videos(call: Call) -> Answer:
    """A page of the account's tasks."""
    query = call.query()
    limit, newest = page_limit(query), newest_first(query)
    after = query.get("after") or None
    if after is not None:
        await _check_after(call, after)
    found = await call.gateway.db.read(
        partial(
            tasks.page,
            account_id=call.caller.account_id,
            after=after,
            limit=limit + 1,
            newest_first=newest,
        )
    )
    shown = [(task, link_url(call, task)) for task in found[:limit]]
    return Json(wire.encode(wire.page(shown, has_more=len(found) > limit)))


async def _check_after(call: Call, after: str) -> None:
    known: Task | None = None
    if is_task_id(after):
        known = await call.gateway.db.point(
            partial(tasks.get_of_account, account_id=call.caller.account_id, task_id=after)
        )
    if known is None:
        raise Refusal(
            Code.INVALID_VALUE,
            f"after {after[:60]!r} is not the id of a task of this account.",
            "after",
        )


async def delete(call: Call) -> Answer:
    """Remove a finished task's bytes and hide the task."""
    call.task_id = task_id = call.params["task_id"]
    await deliver.delete(call.gateway, call.caller.account_id, task_id)
    return Json(wire.encode(wire.VideoDeleted(id=task_id)))


async def cancel(call: Call) -> Answer:
    """Stop a task: free while queued, later only where the upstream can."""
    call.task_id = task_id = call.params["task_id"]
    task = await deliver.find(call.gateway, call.caller.account_id, task_id)
    return _video(call, await cancelling.cancel(call.gateway, task))


async def wrong_endpoint(call: Call) -> Answer:
    """The page's first common error: a video model sent to an image endpoint."""
    try:
        fields = await read_body(call.scope, call.receive, call.api.reader.body_limits)
    except Refusal:
        fields = {}
    raise image_endpoint(call.scope["path"], fields, call.gateway.models)
