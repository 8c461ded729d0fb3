"""Measure a source that was named by URL, before anything is spent on it.

The bytes stay where they are: the MP4's boxes are read by range requests through the guard, and
no URL is ever given to a decoder.
"""

import asyncio
import logging
from dataclasses import replace

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import Code, Refusal, TaskError
from reelgate.domain.money import usd
from reelgate.domain.order import SourceFacts
from reelgate.domain.quote import quote
from reelgate.domain.rules import source_length_message
from reelgate.domain.task import Task
from reelgate.flows import key_limits
from reelgate.flows.gateway import Gateway
from reelgate.flows.inputs import codec_message
from reelgate.flows.settle import Ending, failed
from reelgate.media.facts import BadMedia, VideoFacts
from reelgate.media.mp4 import probe_mp4
from reelgate.net.errors import DownloadFailed, Refused, TooLarge, Unreachable, WrongType
from reelgate.store import accounts, key_usage, ledger, tasks
from reelgate.store.database import Writer

log = logging.getLogger("reelgate.task")

# A few small reads; tasks behind this one are waiting.
PROBE_MS_MAX = 30_000


async def measured(gateway: Gateway, task: Task) -> Task | Ending | None:
    """The task with its source measured and its hold grown to match.

    A source that can't be reached from here may still be reached by the upstream: then the dearest
    one that the operation takes is held for, whatever was declared.

    An Ending when the source can't be used or paid for; None when the task is no longer ours.
    """
    video = task.order.video
    if video is None or video.url is None or task.source is not None:
        return task
    try:
        facts = await _probe(gateway, task, video.url)
    except Refused as error:
        message = f"The source video's URL can't be used: {error}. Nothing was charged."
        return failed(TaskError.INVALID_INPUT, message)
    except (BadMedia, TooLarge, WrongType) as error:
        message = f"The source video can't be used: {error}. Nothing was charged."
        return failed(TaskError.INVALID_INPUT, message)
    except DownloadFailed as error:
        log.info("source not measured", extra={"task_id": task.id, "detail": str(error)})
        return await _hold_for(gateway, task, None)
    return await _take(gateway, task, facts)


async def _probe(gateway: Gateway, task: Task, url: str) -> VideoFacts:
    limits = gateway.spec_of(task).video_limits
    try:
        async with (
            asyncio.timeout(PROBE_MS_MAX / 1000),
            gateway.guard.reader(url, bytes_max=limits.bytes_max) as reader,
        ):
            await reader.read_at(0, 1)
            if reader.total_bytes is None:
                raise Unreachable("the server does not say how long the file is")
            return await probe_mp4(reader.read_at, reader.total_bytes)
    except TimeoutError:
        raise Unreachable("the server is too slow") from None


async def _take(gateway: Gateway, task: Task, facts: VideoFacts) -> Task | Ending | None:
    spec = gateway.spec_of(task)
    allowed = spec.operations[task.order.operation].source_ms
    if facts.codec not in spec.video_limits.codecs:
        return failed(TaskError.INVALID_INPUT, codec_message("The source video", facts.codec))
    if allowed is not None and not allowed.low <= facts.duration_ms <= allowed.high:
        message = source_length_message(task.order.operation, allowed, facts.duration_ms)
        return failed(TaskError.INVALID_INPUT, f"{message[0].upper()}{message[1:]}")
    source = SourceFacts(facts.width, facts.height, facts.duration_ms)
    return await _hold_for(gateway, task, source)


async def _hold_for(
    gateway: Gateway, task: Task, source: SourceFacts | None
) -> Task | Ending | None:
    """Note the measure; hold more where this source, or any at all, can cost more than is held."""
    spec, prices = gateway.spec_of(task), task.terms.prices_micro
    order = task.order if source else replace(task.order, input_video_seconds=None, tier=None)
    needed_micro = quote(order, spec, prices, source).total_micro
    if source is None and needed_micro <= task.held_micro:
        return task
    now_ms = gateway.clock.now_ms()
    try:
        held = await gateway.db.write(
            lambda tx: _grow(tx, task, source, needed_micro, now_ms), locks=task.account_id
        )
    except Refusal as refusal:
        return failed(TaskError.INSUFFICIENT_BALANCE, refusal.message)
    crash_point("send.after_measure_commit")
    return held


def _grow(
    tx: Writer, task: Task, source: SourceFacts | None, needed_micro: int, now_ms: int
) -> Task | None:
    """Raises Refusal when the account or the key can't carry it; then nothing has changed."""
    held_micro = max(needed_micro, task.held_micro)
    more_micro = held_micro - task.held_micro
    before = tasks.get(tx, task.id)
    if before is not None and before.held_micro > task.held_micro:
        # A COMMIT whose answer was lost: this has happened, and must not happen twice.
        return before if before.epoch == task.epoch else None
    noted = tasks.note_change(tx, task, source=source, held_micro=held_micro)
    if noted is None or not more_micro:
        return noted
    if not ledger.hold(tx, task.account_id, task.id, more_micro, now_ms):
        balance = ledger.balance(tx, task.account_id)
        raise Refusal(
            Code.INSUFFICIENT_BALANCE,
            f"The source video can cost more than was declared: {usd(needed_micro)} USD, where "
            f"{usd(task.held_micro)} was held and "
            f"{usd(balance.available_micro if balance else 0)} more is available. "
            "Nothing was charged.",
        )
    key_usage.add_hold(tx, task.key_id, key_usage.day_of(task.created_at_ms), more_micro)
    key = accounts.get_key(tx, task.key_id)
    if key is not None:
        key_limits.check_growth(tx, key, task.created_at_ms)
    return noted
