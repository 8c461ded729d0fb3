"""The sandbox as an upstream: it takes jobs, is slow about them, and makes real films.

It is inside this process and behaves like a remote one. What it was given lies in its own folder
and survives any end of the process; a job that was being made then is taken up again when it is
next asked for. Tags in a prompt (`script`) make it fail in every way an upstream can.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from reelgate.domain.ids import new_id
from reelgate.domain.model import Operation
from reelgate.net.guard import Guard
from reelgate.providers.base import (
    Accepted,
    Cause,
    CheckReport,
    Done,
    Download,
    Failed,
    FetchError,
    Job,
    JobInput,
    NotTaken,
    Pending,
    PollAnswer,
    Refused,
    ResultChanged,
    ResultGone,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.sandbox.films import CACHE_BYTES_MAX, Films, Renderer
from reelgate.providers.sandbox.inputs import InputUnreachable, gather
from reelgate.providers.sandbox.jobs import (
    BadRecord,
    Failure,
    JobFolder,
    JobRecord,
    Source,
)
from reelgate.providers.sandbox.pool import RenderFailed
from reelgate.providers.sandbox.scene import BadInput
from reelgate.providers.sandbox.script import BadScript, read_script

MAKING_MAX = 4  # inputs are fetched for some while others are rendered
ATTEMPTS_MAX = 3
LIVE_MAX = 20_000
POLL_MS_MIN, POLL_MS_MAX = 250, 2_000
CHUNK_BYTES = 256 * 1024
JOBS_KEPT_MS = 24 * 60 * 60 * 1000

GARBAGE = b"<html><title>504 Gateway Time-out</title></html>\n" * 512
SCRIPTED: Mapping[Verdict, str] = {
    Verdict.FAILED: "The sandbox was told to fail this job.",
    Verdict.MODERATED: "The sandbox was told to block this job by content moderation.",
    Verdict.EXPIRED: "The sandbox was told to let this job expire.",
    Verdict.INPUT_UNREACHABLE: "The sandbox was told that it can't fetch an input.",
}
CANCELLED = Failure(Verdict.CANCELLED, "The job was cancelled.")


@dataclass(slots=True)
class _Live:
    """A job that somebody still waits for."""

    record: JobRecord
    made: bool = False
    rendered: int = 0  # percent
    attempts: int = 0
    failing: bool = False  # its failure is on the way to the disk, and told when it is there
    making: "asyncio.Task[None] | None" = None


class SandboxProvider:
    """A provider that needs no key, no network and no money.

    `folder` is its own and may be shared by several processes. `renderer` becomes its own too.
    """

    kind = "sandbox"
    repeat_safe = False
    can_cancel = True
    operations = frozenset(Operation)

    def __init__(
        self,
        folder: Path,
        *,
        renderer: Renderer,
        guard: Guard,
        now_ms: Callable[[], int],
        cache_bytes_max: int = CACHE_BYTES_MAX,
    ) -> None:
        """Raises OSError when `folder` can't be made."""
        folder = folder.absolute()  # the renderer need not be where we are
        self._jobs = JobFolder(folder)
        self._films = Films(folder / "cache", renderer, cache_bytes_max)
        self._renderer = renderer
        self._guard = guard
        self._now_ms = now_ms
        self._live: dict[str, _Live] = {}
        self._turns = asyncio.Semaphore(MAKING_MAX)

    async def submit(self, job: Job) -> SubmitAnswer:
        """Take a job for good, unless its tags say otherwise, and begin to make it."""
        try:
            script, prompt = read_script(job.prompt)
        except BadScript as problem:
            return Refused(Verdict.INVALID_INPUT, str(problem))
        if script.refuse:
            verdict = script.verdict or Verdict.FAILED
            return Refused(verdict, SCRIPTED[verdict], script.cost_ticks)
        now_ms = self._now_ms()
        inputs = _Inputs(new_id("sandbox", now_ms))
        record = JobRecord(
            ref=inputs.ref,
            task_id=job.task_id,
            accepted_ms=now_ms,
            operation=job.operation,
            prompt=prompt,
            script=script,
            seconds=job.seconds,
            tier=job.tier,
            width=job.width,
            height=job.height,
            images=tuple([await inputs.take(image) for image in job.images]),
            video=await inputs.take(job.video) if job.video else None,
        )
        try:
            if script.busy and await self._count(job.task_id, "submits") <= script.busy:
                return NotTaken(Cause.OVERLOADED, "the sandbox was told to be busy")
            await asyncio.to_thread(self._jobs.add, record, inputs.files)
        except OSError as error:
            return NotTaken(Cause.OVERLOADED, f"the sandbox can't store the job: {error}")
        self._begin(self._remember(_Live(record)))
        if script.lost_reply:
            return Uncertain(Cause.NETWORK, "the sandbox was told to lose the answer")
        return Accepted(record.ref, POLL_MS_MIN)

    async def poll(self, ref: str) -> PollAnswer:
        """How a job stands; one that nobody is making, after a restart, is begun again."""
        try:
            live = await self._find(ref)
            if live is None:
                return Failed(Verdict.EXPIRED, "The sandbox has no such job (any more).")
            if await self._goes_wrong(live.record, "polls", live.record.script.poll_trouble):
                return Trouble(Cause.OVERLOADED, "the sandbox was told not to answer")
        except (OSError, BadRecord) as error:
            return Trouble(Cause.UNREADABLE, f"the sandbox can't read the job: {error}")
        answer = self._answer(live)
        if not isinstance(answer, Pending):
            self._live.pop(ref, None)
            return answer
        trouble = _trouble(live.making)
        self._begin(live)
        return trouble or answer

    @asynccontextmanager
    async def fetch(
        self, result: str, offset: int = 0, etag: str | None = None
    ) -> AsyncIterator[Download]:
        """Open a film at a byte offset; raises FetchError, ResultGone or ResultChanged."""
        try:
            known = await asyncio.to_thread(self._jobs.load, result)
            if known is None:
                raise ResultGone("no such job")
            script = known[0].script
            fails = script.unreachable
            breaks = await self._goes_wrong(known[0], "fetches", fails + script.truncated)
            if breaks and breaks <= fails:
                raise FetchError("the sandbox was told to be unreachable")
            film = await asyncio.to_thread(self._jobs.film(result).open, "rb")
        except FileNotFoundError as error:
            raise ResultGone("the film is not there (any more)") from error
        except (OSError, BadRecord) as error:
            raise FetchError(f"the sandbox can't read the film: {error}") from error
        with film:
            stat = os.fstat(film.fileno())
            version = f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
            if offset > stat.st_size or etag not in {None, version}:
                raise ResultChanged("not the film of before")
            left = stat.st_size - offset
            film.seek(offset)
            yield Download(
                chunks=_chunks(film, left // 2 if breaks else left, broken=bool(breaks)),
                offset=offset,
                total=stat.st_size,
                etag=version,
            )

    async def cancel(self, ref: str) -> bool:
        """Stop a job that has not ended; True only when that is certain and on disk."""
        try:
            live = await self._find(ref)
        except (OSError, BadRecord):
            return False
        if live is None or live.record.script.no_cancel or live.failing:
            return False
        if live.making:
            live.making.cancel()
            await asyncio.wait([live.making])
        if live.record.failure or not isinstance(self._answer(live), Pending):
            return False
        going_on, live.record = live.record, replace(live.record, failure=CANCELLED)
        try:
            await asyncio.to_thread(self._jobs.save, live.record)
        except OSError:
            live.record = going_on
            return False
        return True

    async def check(self, models: tuple[str, ...]) -> CheckReport:
        """The sandbox knows every model and needs no key; what can be missing is its folder."""
        writable = await asyncio.to_thread(os.access, self._jobs.path, os.W_OK)
        detail = "makes its films on this machine" if writable else "its folder is not writable"
        return CheckReport(reachable=writable, authorized=None, models_missing=(), detail=detail)

    async def tidy(self, jobs_kept_ms: int = JOBS_KEPT_MS) -> int:
        """Forget jobs that were accepted longer ago; how many. Raises OSError, BadRecord."""
        before = self._now_ms() - jobs_kept_ms
        making = frozenset(ref for ref, live in self._live.items() if _is_making(live))
        return await asyncio.to_thread(self._jobs.tidy, before, making)

    async def close(self) -> None:
        """Stop making films. What was accepted stays accepted."""
        making = [live.making for live in self._live.values() if live.making]
        for task in making:
            task.cancel()
        if making:
            await asyncio.wait(making)
        self._live.clear()
        await self._renderer.close()

    async def _find(self, ref: str) -> _Live | None:
        live = self._live.get(ref)
        if live is None:
            known = await asyncio.to_thread(self._jobs.load, ref)
            if known is None:
                return None
            # Another poll may have been here while this one read.
            live = self._live.get(ref) or self._remember(_Live(known[0], made=known[1]))
        return live

    def _remember(self, live: _Live) -> _Live:
        """Everything is on disk: memory only saves reading it, so it may be let go of."""
        if len(self._live) >= LIVE_MAX:
            idle = [ref for ref, other in self._live.items() if not _is_making(other)]
            for ref in idle:
                del self._live[ref]
        self._live[live.record.ref] = live
        return live

    def _answer(self, live: _Live) -> Pending | Done | Failed:
        record, script = live.record, live.record.script
        if record.failure == CANCELLED:
            return Failed(CANCELLED.verdict, CANCELLED.message, script.cost_ticks)
        wait_ms = record.accepted_ms + script.slow_ms - self._now_ms()
        if script.slow_ms and wait_ms > 0:
            hint_ms = min(max(wait_ms, POLL_MS_MIN), POLL_MS_MAX)
            return Pending(_progress(live, wait_ms), hint_ms)
        if record.failure:
            return Failed(record.failure.verdict, record.failure.message, script.cost_ticks)
        if script.verdict:
            return Failed(script.verdict, SCRIPTED[script.verdict], script.cost_ticks)
        if live.made:
            return Done(record.ref, script.cost_ticks)
        return Pending(_progress(live, 0), POLL_MS_MAX if self._turns.locked() else POLL_MS_MIN)

    def _begin(self, live: _Live) -> None:
        """See to it that a job that needs a film gets one."""
        decided = live.made or live.record.failure or live.record.script.verdict
        if not decided and not _is_making(live):
            live.making = asyncio.create_task(self._make(live), name=live.record.ref)

    async def _make(self, live: _Live) -> None:
        """Make a job's film, or learn that it can't be made; anything else raised is trouble."""
        async with self._turns:
            live.attempts += 1
            live.failing = False
            try:
                await self._film(live)
                live.made = True
                return
            except InputUnreachable as error:
                failure = Failure(Verdict.INPUT_UNREACHABLE, str(error))
            except BadInput as error:
                failure = Failure(Verdict.INVALID_INPUT, str(error))
            except RenderFailed:
                if live.attempts < ATTEMPTS_MAX:
                    raise
                failure = Failure(Verdict.FAILED, "The sandbox could not make this film.")
            live.failing = True
            failed = replace(live.record, failure=failure)
            await asyncio.to_thread(self._jobs.save, failed)
            live.record = failed

    async def _film(self, live: _Live) -> None:
        record, out = live.record, self._jobs.film(live.record.ref)
        with self._jobs.work(record.ref) as folder:
            work = Path(folder)
            if record.script.garbage:
                (work / "film.mp4").write_bytes(GARBAGE)
                (work / "film.mp4").replace(out)
                return
            scene = await gather(record, self._jobs.path, work, self._guard)

            def rendered(percent: int) -> None:
                live.rendered = percent

            await self._films.make(scene, work, out, rendered)

    async def _goes_wrong(self, record: JobRecord, event: str, times: int) -> int:
        """Which of the scripted mishaps this is, from 1; 0 when they are over, or were none."""
        if not times:
            return 0
        nth = await self._count(record.ref, event)
        return nth if nth <= times else 0

    async def _count(self, subject: str, event: str) -> int:
        return await asyncio.to_thread(self._jobs.tally, subject, event)


class _Inputs:
    """The inputs of a job on their way in: bytes are read while the caller still has them."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.files: list[tuple[str, bytes]] = []

    async def take(self, given: JobInput) -> Source:
        """Raises whatever `load` raises."""
        if given.load is None:
            return Source(url=given.url)
        name = f"{self.ref}.input{len(self.files)}"
        self.files.append((name, await given.load()))
        return Source(file=name)


def _is_making(live: _Live) -> bool:
    return live.making is not None and not live.making.done()


def _trouble(making: "asyncio.Task[None] | None") -> Trouble | None:
    """What went wrong when a film was last tried, if it may still be made."""
    if making is None or not making.done() or making.cancelled():
        return None
    error = making.exception()
    return Trouble(Cause.OVERLOADED, f"the sandbox failed to render: {error!r}") if error else None


def _progress(live: _Live, wait_ms: int) -> int | None:
    """0 to 99: how much is rendered, but no more than its scripted time allows."""
    script = live.record.script
    if script.no_progress:
        return None
    decided = live.made or live.record.failure or script.verdict
    percent = 100 if decided else live.rendered
    if script.slow_ms:
        percent = min(percent, (script.slow_ms - wait_ms) * 100 // script.slow_ms)
    return max(0, min(percent, 99))


async def _chunks(film: BinaryIO, count: int, *, broken: bool) -> AsyncIterator[bytes]:
    while count > 0:
        chunk = await asyncio.to_thread(film.read, min(count, CHUNK_BYTES))
        if not chunk:
            raise FetchError("the film is shorter than it was")
        count -= len(chunk)
        yield chunk
    if broken:
        raise FetchError("the sandbox was told to break off")
