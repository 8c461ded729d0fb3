"""Input pictures and clips: measured from their bytes, kept while their task lives."""

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from reelgate.domain.errors import Code, Problem, StorageFull, StoreError
from reelgate.domain.model import MediaLimits, ModelSpec
from reelgate.domain.order import Draft, MediaDraft, MediaInput, SourceFacts
from reelgate.domain.task import State, Task
from reelgate.flows.gateway import Caller, Gateway
from reelgate.media.facts import BadMedia, VideoFacts
from reelgate.media.probe import probe_image, probe_video, sniff
from reelgate.providers.base import JobInput
from reelgate.store import tasks

_MIB = 1024 * 1024


async def measure(
    gateway: Gateway, caller: Caller, draft: Draft, spec: ModelSpec, problems: list[Problem]
) -> None:
    """Fill in what the bytes in hand say of themselves; add a problem for each that is no good."""
    for picture in _pictures(draft):
        if picture.data is not None:
            await _measure_picture(picture, spec.image_limits, problems)
    video = draft.video
    if video is not None and video.data is not None:
        await _measure_clip(gateway, video, spec.video_limits, problems)
    if video is not None and video.task_id is not None:
        await _measure_task(gateway, caller, video, problems)


async def store(gateway: Gateway, task: Task, draft: Draft) -> Task:
    """Keep uploaded bytes, durably, and note in the task's order where they lie."""
    order = task.order
    given = [*_pictures(draft), *([draft.video] if draft.video else [])]
    wanted = [*order.images, *([order.video] if order.video else [])]
    kept: list[MediaInput] = []
    try:
        for media, source in zip(wanted, given, strict=True):
            kept.append(await _keep(gateway, task.id, len(kept), media, source))
    except StoreError:
        # There may be no room: what came before must not stay.
        await _remove(gateway, kept)
        raise
    if kept == wanted:
        return task
    pictures = len(order.images)
    video = kept[pictures] if order.video else None
    return replace(task, order=replace(order, images=tuple(kept[:pictures]), video=video))


async def forget(gateway: Gateway, task: Task) -> None:
    """Remove a task's uploaded bytes; those of other tasks' results stay."""
    await _remove(gateway, (*task.order.images, *([task.order.video] if task.order.video else ())))


async def _remove(gateway: Gateway, kept: Iterable[MediaInput]) -> None:
    """What can't be removed now is the janitor's: nobody's answer is to fail over it."""
    for media in kept:
        if media.sha256 is not None and media.key is not None:
            with contextlib.suppress(StoreError):
                await gateway.media.delete(media.key)


def for_job(gateway: Gateway, kept: MediaInput) -> JobInput:
    """An input as a provider takes it."""
    if kept.url is not None:
        return JobInput(url=kept.url, mime=kept.mime)
    return JobInput(mime=kept.mime, load=_loader(gateway, kept.key or ""))


def _loader(gateway: Gateway, key: str) -> Callable[[], Awaitable[bytes]]:
    async def load() -> bytes:
        return await gateway.media.read(key)

    return load


def _pictures(draft: Draft) -> list[MediaDraft]:
    return [draft.image] if draft.image else list(draft.images or ())


async def _measure_picture(
    picture: MediaDraft, limits: MediaLimits, problems: list[Problem]
) -> None:
    data = picture.data or b""
    if not _take_bytes(picture, data, limits, problems):
        return
    try:
        facts = await asyncio.to_thread(probe_image, data)
    except BadMedia as error:
        problems.append(_bad(picture.param, f"{picture.param} is not a readable picture: {error}"))
        return
    picture.facts = SourceFacts(facts.width, facts.height)


async def _measure_clip(
    gateway: Gateway, clip: MediaDraft, limits: MediaLimits, problems: list[Problem]
) -> None:
    data = clip.data or b""
    if not _take_bytes(clip, data, limits, problems):
        return
    try:
        facts = await asyncio.to_thread(_probe_clip, gateway, data, clip.sha256 or "")
    except BadMedia as error:
        problems.append(_bad(clip.param, f"{clip.param} is not a readable video: {error}"))
        return
    if limits.codecs and facts.codec not in limits.codecs:
        problems.append(_bad(clip.param, codec_message(clip.param, facts.codec)))
    clip.facts = SourceFacts(facts.width, facts.height, facts.duration_ms)


def _probe_clip(gateway: Gateway, data: bytes, name: str) -> VideoFacts:
    """The prober wants a file: it never holds a whole clip in memory twice."""
    try:
        with tempfile.NamedTemporaryFile(
            dir=gateway.media.part_path(""), prefix=name, buffering=0
        ) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            return probe_video(Path(file.name))
    except OSError as error:
        raise StorageFull(f"no room to look at an input: {error.strerror}") from error


def codec_message(param: str, codec: str) -> str:
    """Says that a clip is coded in a way that the model does not read."""
    return f"{param} is coded as {codec!r}; it must be H.264, H.265 or AV1 in an MP4 file."


def _take_bytes(
    media: MediaDraft, data: bytes, limits: MediaLimits, problems: list[Problem]
) -> bool:
    """Note what the bytes are; False, with a problem, when they can't be taken."""
    kinds = ", ".join(mime.partition("/")[2].upper() for mime in limits.mimes)
    if len(data) > limits.bytes_max:
        problems.append(
            _bad(
                media.param,
                f"{media.param} has {len(data)} bytes; at most {limits.bytes_max // _MIB} MiB.",
            )
        )
        return False
    mime = sniff(data[:64])
    if mime not in limits.mimes:
        what = f"holds {mime}" if mime else "holds neither a picture nor a video that we know"
        problems.append(_bad(media.param, f"{media.param} {what}; it must be {kinds}."))
        return False
    media.mime = mime
    media.bytes = len(data)
    media.sha256 = media.sha256 or hashlib.sha256(data).hexdigest()
    return True


async def _measure_task(
    gateway: Gateway, caller: Caller, video: MediaDraft, problems: list[Problem]
) -> None:
    """A source that is an earlier result of the same account."""
    task_id = video.task_id or ""
    task = await gateway.db.point(lambda tx: tasks.get_of_account(tx, caller.account_id, task_id))
    if task is None or task.deleted_at_ms is not None:
        message = f"There is no task {task_id[:60]!r} in this account."
        problems.append(Problem(Code.TASK_NOT_FOUND, video.param, message))
    elif task.state is not State.COMPLETED or task.result is None:
        problems.append(
            _bad(video.param, f"task {task_id} is {task.status}; only a completed one has a video.")
        )
    elif task.purged_at_ms is not None:
        problems.append(_bad(video.param, f"the video of task {task_id} has expired."))
    else:
        result = task.result
        video.key, video.mime, video.bytes = result.key, "video/mp4", result.bytes
        video.facts = SourceFacts(result.width, result.height, result.duration_ms)


async def _keep(
    gateway: Gateway, task_id: str, number: int, kept: MediaInput, given: MediaDraft
) -> MediaInput:
    if given.data is None:
        return kept
    key = f"inputs/{task_id[-2:]}/{task_id}.{number}"
    await gateway.media.put(key, given.data)
    return replace(kept, key=key)


def _bad(param: str, message: str) -> Problem:
    return Problem(Code.INVALID_VALUE, param, message)
