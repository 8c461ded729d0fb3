"""What every field of an answer means: the task object and its kin (contract, sections 1, 4, 7).

What may be sent is in `fields.py`. Amounts are decimal strings of USD, times whole seconds since
the epoch. Every field is always there, null where it says nothing.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from reelgate.domain.model import TIER_720P, tier_of
from reelgate.domain.money import usd
from reelgate.domain.quote import Bill, Line, billed_seconds
from reelgate.domain.task import State, Task

_MS_PER_SECOND = 1000
# A progress of 100 is a promise that the end is there.
_PROGRESS_BEFORE_END_MAX = 99
_PROGRESS_AT_END = 100


class BillingItem(msgspec.Struct, frozen=True):
    """One line of a bill: `amount` is `quantity` times `unit_price`."""

    item: str
    quantity: int
    unit: str
    unit_price: str
    amount: str


class Billing(msgspec.Struct, frozen=True, kw_only=True):
    """`max_cost` is what is held while the task runs; `cost` what was charged, null until the end.

    `items` are those of `max_cost` until the end, then those of `cost`.
    """

    currency: Literal["USD"] = "USD"
    max_cost: str
    cost: str | None
    items: tuple[BillingItem, ...]


class VideoError(msgspec.Struct, frozen=True):
    """Why a task has no video; `code` is one of contract section 4."""

    code: str
    message: str


class Video(msgspec.Struct, frozen=True, kw_only=True):
    """A task: OpenAI's thirteen `Video` fields, and ours."""

    id: str
    task_id: str
    object: Literal["video"] = "video"
    model: str
    status: str
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str
    size: str
    seconds: str
    operation: str
    aspect_ratio: str | None
    remixed_from_video_id: str | None
    error: VideoError | None
    metadata: dict[str, str]
    billing: Billing


class VideoPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list; the next one is asked for with `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to DELETE."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a create request would hold; `billing.cost` is null: nothing was made."""

    object: Literal["video.estimate"] = "video.estimate"
    model: str
    operation: str
    billing: Billing


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money: what new tasks may use, and what running ones hold."""

    object: Literal["balance"] = "balance"
    currency: Literal["USD"] = "USD"
    available: str
    held: str


encode = msgspec.json.Encoder().encode


def video_json(task: Task, url: str | None) -> bytes:
    """A task as the bytes of an answer; the hottest path there is. See `video`."""
    return encode(video(task, url))


def video(task: Task, url: str | None) -> Video:
    """A task as its owner sees it. `url` is the signed link to its bytes, None without any."""
    order, ended = task.order, task.ended
    completed = task.state is State.COMPLETED
    failure = task.failure
    return Video(
        id=task.id,
        task_id=task.id,
        model=task.model,
        status=task.status,
        progress=_PROGRESS_AT_END if ended else min(task.progress, _PROGRESS_BEFORE_END_MAX),
        created_at=task.created_at_ms // _MS_PER_SECOND,
        completed_at=_seconds(task.ended_at_ms) if completed else None,
        expires_at=_seconds(task.expires_at_ms) if completed else None,
        prompt=order.prompt,
        size=order.size or order.tier or _delivered_tier(task),
        seconds=str(order.seconds or _source_seconds(task)),
        operation=task.operation,
        aspect_ratio=order.aspect_ratio,
        remixed_from_video_id=order.remixed_from,
        error=VideoError(failure.code.value, failure.message) if failure else None,
        metadata={"url": url, **order.metadata} if url else dict(order.metadata),
        billing=_billing_of(task, ended),
    )


def page(tasks: Sequence[tuple[Task, str | None]], *, has_more: bool) -> VideoPage:
    """Tasks with their links as one page of a list."""
    data = [video(task, url) for task, url in tasks]
    return VideoPage(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=has_more,
    )


def estimate(model: str, operation: str, quoted: Bill) -> Estimate:
    """A quote without a task."""
    return Estimate(model=model, operation=operation, billing=_billing(quoted.total_micro, quoted))


def balance(available_micro: int, held_micro: int) -> Balance:
    return Balance(available=usd(available_micro), held=usd(held_micro))


def _seconds(at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms // _MS_PER_SECOND


def _delivered_tier(task: Task) -> str:
    """The tier of an edit or extension: the source's, as far as it is known."""
    known = task.result or task.source
    return tier_of(known.width, known.height) if known else TIER_720P


def _source_seconds(task: Task) -> int:
    """The length of an edit: that of its result or source, else the longest, which is held."""
    known = task.result or task.source
    if known:
        return billed_seconds(known.duration_ms)
    return max(line.quantity for line in task.terms.quoted.lines if line.unit == "second")


def _billing_of(task: Task, ended: bool) -> Billing:
    max_micro = task.held_micro or task.terms.quoted.total_micro
    if not ended:
        return _billing(max_micro, task.terms.quoted)
    return _billing(max_micro, task.bill or Bill(()), cost=True)


def _billing(max_micro: int, bill: Bill, *, cost: bool = False) -> Billing:
    return Billing(
        max_cost=_usd(max_micro),
        cost=_usd(bill.total_micro) if cost else None,
        items=tuple([_item(line) for line in bill.lines]),
    )


# A price list knows few amounts and every poll writes some of them.
_usd = lru_cache(maxsize=4096)(usd)


@lru_cache(maxsize=4096)
def _item(line: Line) -> BillingItem:
    return BillingItem(
        line.item, line.quantity, line.unit, usd(line.unit_price_micro), usd(line.amount_micro)
    )
