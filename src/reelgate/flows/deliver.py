"""Hand out what was made: signed links, the bytes behind a task, and their removal."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from functools import partial

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.ids import is_task_id
from reelgate.domain.task import State, Task
from reelgate.flows import pictures
from reelgate.flows.gateway import Gateway
from reelgate.store import tasks

_SIGNATURE_CHARS = 32
# Links of results that are kept for good move on in steps, so that they can be cached.
_LINK_STEP_MS = 3_600_000
_NOT_FOUND = "There is no task {0!r} in this account."


@dataclass(frozen=True, slots=True)
class Link:
    """The proof in a signed link: it opens one task's bytes until `expires_s` (Unix time)."""

    expires_s: int
    signature: str


def sign(gateway: Gateway, task: Task) -> Link:
    """A link to a completed task's bytes that works without a key until the bytes go."""
    expires_ms = task.expires_at_ms
    if expires_ms is None:
        now_ms = gateway.clock.now_ms()
        expires_ms = now_ms - now_ms % _LINK_STEP_MS + _LINK_STEP_MS + gateway.policy.link_ttl_ms
    expires_s = expires_ms // 1000
    return Link(expires_s, _signature(gateway.secret, task.id, expires_s))


def opens(gateway: Gateway, task_id: str, link: Link) -> bool:
    """Whether a link is ours and its time has not passed."""
    expected = _signature(gateway.secret, task_id, link.expires_s)
    ours = hmac.compare_digest(expected.encode(), link.signature.encode("utf-8", "replace"))
    return ours and gateway.clock.now_ms() < link.expires_s * 1000


def _signature(secret: bytes, task_id: str, expires_s: int) -> str:
    raw = hmac.new(secret, f"link:{task_id}:{expires_s}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(raw).decode()[:_SIGNATURE_CHARS]


async def find(gateway: Gateway, account_id: str, task_id: str) -> Task:
    """A task of this account. Raises Refusal (`task_not_found`), deleted ones included."""
    task = await _look_up(gateway, account_id, task_id)
    if task is None or task.deleted_at_ms is not None:
        raise _not_found(task_id)
    return task


async def find_bytes(gateway: Gateway, account_id: str | None, task_id: str) -> Task:
    """A completed task whose bytes are here; of any account when None (a signed link).

    Raises Refusal: `task_not_found`, `video_deleted`, `video_expired`, `video_not_ready`.
    """
    task = await _look_up(gateway, account_id, task_id)
    if task is None:
        raise _not_found(task_id)
    if task.deleted_at_ms is not None:
        raise Refusal(Code.VIDEO_DELETED, f"The video of {task_id} was deleted.")
    if task.state is not State.COMPLETED:
        why = f"it is {task.status}"
        if task.failure is not None:
            why = f"the task failed ({task.failure.code.value}) and has none"
        raise Refusal(
            Code.VIDEO_NOT_READY,
            f"The video of {task_id} can't be had: {why}. Poll GET /v1/videos/{task_id} until "
            'its status is "completed".',
            headers={"x-should-retry": "false"},
        )
    over = task.expires_at_ms is not None and task.expires_at_ms <= gateway.clock.now_ms()
    if over or task.purged_at_ms is not None:
        raise Refusal(Code.VIDEO_EXPIRED, f"The video of {task_id} has expired and was removed.")
    return task


async def delete(gateway: Gateway, account_id: str, task_id: str) -> None:
    """Hide an ended task and remove its bytes.

    Raises Refusal: `task_not_found`; `not_cancellable` for one that has not ended.
    """
    task = await find(gateway, account_id, task_id)
    if not task.ended:
        raise Refusal(
            Code.NOT_CANCELLABLE,
            f"Task {task_id} is {task.status}; only a finished task can be deleted. To stop it, "
            f"POST /v1/videos/{task_id}/cancel.",
        )
    now_ms = gateway.clock.now_ms()
    await gateway.db.write(partial(tasks.mark_deleted, task_id=task_id, now_ms=now_ms))
    crash_point("delete.after_hide_commit")
    if task.result is not None:
        await pictures.remove_all(gateway, task.result.key)
        crash_point("delete.after_bytes")
        await gateway.db.write(partial(tasks.mark_purged, task_id=task_id, now_ms=now_ms))
    gateway.watch.changed(task_id)


async def _look_up(gateway: Gateway, account_id: str | None, task_id: str) -> Task | None:
    if not is_task_id(task_id):
        return None
    if account_id is None:
        return await gateway.db.point(partial(tasks.get, task_id=task_id))
    return await gateway.db.point(
        partial(tasks.get_of_account, account_id=account_id, task_id=task_id)
    )


def _not_found(task_id: str) -> Refusal:
    return Refusal(Code.TASK_NOT_FOUND, _NOT_FOUND.format(task_id[:60]))
