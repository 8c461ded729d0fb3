"""Bring the result home: download, verify, measure, keep. Retried when it fails, never remade."""

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import StorageFull, StoreError, TaskError
from reelgate.domain.order import SourceFacts
from reelgate.domain.quote import final_bill
from reelgate.domain.task import Result, State, Task
from reelgate.flows.gateway import Gateway
from reelgate.flows.settle import Ending, failed
from reelgate.flows.verdicts import CALL_MS_MAX
from reelgate.media.facts import BadMedia, VideoFacts
from reelgate.media.probe import probe_video
from reelgate.providers.base import (
    Done,
    Download,
    Failed,
    FetchError,
    Provider,
    ResultChanged,
    ResultGone,
)
from reelgate.store import tasks

_WRITE_BYTES = 1024 * 1024
# Whole downloads that are no video: this many, and it is the result, not the transfer.
_BAD_RESULTS_MAX = 3


@dataclass(slots=True)
class Progress:
    """How far a download has come in this process; lost with it, and then begun anew."""

    bytes: int = 0
    etag: str | None = None
    attempt: int = 0
    bad_results: int = 0
    until_ms: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def start_over(self) -> None:
        self.bytes, self.etag, self.hash = 0, None, hashlib.sha256()


@dataclass(frozen=True, slots=True)
class Again:
    """Not this time. `detail` is for the operator's log."""

    attempt: int
    detail: str


async def collect(
    gateway: Gateway, task: Task, provider: Provider, progress: Progress
) -> Ending | Task | Again | None:
    """The completed ending; the task with a fresh link; what to retry; or None: not ours now."""
    # A worker that stood still and goes on writes to the files of its own epoch.
    part = gateway.media.part_path(f"{task.id}.{task.epoch}.mp4")
    progress.attempt += 1
    if progress.attempt == 1:
        # A film that was done in time is not lost because the deadline comes while it is fetched.
        least_ms = gateway.clock.now_ms() + gateway.policy.collect_ms_min
        progress.until_ms = max(task.deadline_at_ms, least_ms)
        await discard(gateway, task)
    try:
        await _download(gateway, task, provider, progress, part)
        crash_point("collect.after_download")
        facts = await asyncio.to_thread(probe_video, part)
    except ResultGone as error:
        return await _fresh_link(gateway, task, provider, progress, str(error))
    except BadMedia as error:
        return _bad_result(gateway, progress, str(error))
    except (FetchError, TimeoutError) as error:
        if isinstance(error, ResultChanged) or progress.etag is None:
            progress.start_over()  # nothing says that the rest belongs to the beginning
        return _again(gateway, progress, str(error))
    except StoreError as error:
        # The video exists and is paid for: it waits for room however long that takes.
        progress.start_over()
        await discard(gateway, task)
        return Again(progress.attempt, str(error))
    return await _keep(gateway, task, progress, part, facts)


async def discard(gateway: Gateway, task: Task) -> None:
    """Remove what there is of a task's downloads, those of earlier workers too."""
    await gateway.media.forget_parts(f"{task.id}.")


async def _download(
    gateway: Gateway, task: Task, provider: Provider, progress: Progress, part: Path
) -> None:
    bytes_max = gateway.policy.result_bytes_max
    async with provider.fetch(task.result_url or "", progress.bytes, progress.etag) as download:
        if download.offset != progress.bytes:
            progress.start_over()
        progress.etag = download.etag
        if download.total is not None and download.total > bytes_max:
            raise BadMedia(f"the result has {download.total} bytes, over {bytes_max}")
        with _open_part(part, progress.bytes) as file:
            await _pour(download, file, progress, bytes_max)
    if download.total is not None and progress.bytes != download.total:
        raise FetchError(f"the result ended after {progress.bytes} of {download.total} bytes")


def _open_part(part: Path, size: int) -> FileIO:
    """Unbuffered: closing it has nothing to write that there may be no room for."""
    try:
        file = FileIO(part, "r+" if part.exists() else "w+")
        found = file.seek(0, os.SEEK_END)
        if found > size:
            file.truncate(size)
            file.seek(size)
    except OSError as error:
        raise _no_room(error) from error
    if found < size:
        file.close()
        raise ResultChanged("what had been fetched before is not there any more")
    return file


async def _pour(download: Download, file: FileIO, progress: Progress, bytes_max: int) -> None:
    """Write in large pieces, off the event loop, counting only what has been written."""
    buffer = bytearray()
    try:
        async for chunk in download.chunks:
            buffer += chunk
            if progress.bytes + len(buffer) > bytes_max:
                raise BadMedia(f"the result is larger than {bytes_max} bytes")
            if len(buffer) >= _WRITE_BYTES:
                await asyncio.to_thread(_write, file, bytes(buffer), progress)
                buffer.clear()
    finally:
        await asyncio.to_thread(_write, file, bytes(buffer), progress)


def _write(file: FileIO, data: bytes, progress: Progress) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise _no_room(error) from error
    progress.hash.update(data)
    progress.bytes += len(data)


def _no_room(error: OSError) -> StorageFull:
    return StorageFull(f"the disk of the media store can't be written: {error.strerror}")


async def _keep(
    gateway: Gateway, task: Task, progress: Progress, part: Path, facts: VideoFacts
) -> Ending | Again:
    key = f"results/{task.id[-2:]}/{task.id}.{task.epoch}.mp4"
    try:
        await gateway.media.publish(part, key)
    except StoreError as error:
        progress.start_over()
        await discard(gateway, task)
        return Again(progress.attempt, str(error))
    delivered = SourceFacts(facts.width, facts.height, facts.duration_ms)
    spec = gateway.spec_of(task)
    bill = final_bill(task.order, spec, task.terms, delivered, task.source, task.held_micro)
    result = Result(
        key=key,
        bytes=progress.bytes,
        sha256=progress.hash.hexdigest(),
        duration_ms=facts.duration_ms,
        width=facts.width,
        height=facts.height,
        frames=facts.frames,
    )
    return Ending(State.COMPLETED, result=result, bill=bill)


async def _fresh_link(
    gateway: Gateway, task: Task, provider: Provider, progress: Progress, detail: str
) -> Ending | Task | Again | None:
    """The link has died: the upstream may still have the result under a new one."""
    try:
        async with asyncio.timeout(CALL_MS_MAX / 1000):
            answer = await provider.poll(task.upstream_ref or "")
    except TimeoutError:
        return _again(gateway, progress, f"{detail}; no answer to the poll")
    late = gateway.clock.now_ms() >= progress.until_ms
    if isinstance(answer, Done) and answer.result != task.result_url and not late:
        progress.start_over()
        url = answer.result
        return await gateway.db.write(lambda tx: tasks.note_change(tx, task, result_url=url))
    if isinstance(answer, Failed):
        detail = f"{detail}; {answer.message}"
    return _again(gateway, progress, detail)


def _bad_result(gateway: Gateway, progress: Progress, detail: str) -> Ending | Again:
    progress.start_over()
    progress.bad_results += 1
    if progress.bad_results < _BAD_RESULTS_MAX:
        return _again(gateway, progress, detail)
    return failed(
        TaskError.UPSTREAM_UNAVAILABLE,
        "The upstream delivered a file that is not a whole video. Nothing was charged.",
        note=detail,
    )


def _again(gateway: Gateway, progress: Progress, detail: str) -> Ending | Again:
    if gateway.clock.now_ms() < progress.until_ms:
        return Again(progress.attempt, detail)
    return failed(
        TaskError.UPSTREAM_UNAVAILABLE,
        "The upstream made the video, but it could not be fetched in time. Nothing was charged.",
        note=detail,
    )
