"""Every provider before an upstream of its own, behind one face: what the contract suite drives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from pathlib import Path
from typing import Protocol

from reelgate.domain.clock import ManualClock
from reelgate.domain.model import Operation
from reelgate.net.guard import Guard, Policy
from reelgate.providers.base import Job, JobInput, Provider
from reelgate.providers.dialects import DIALECTS, DialectName
from reelgate.providers.openai_videos import OpenAIVideos
from reelgate.providers.sandbox.jobs import submits
from reelgate.providers.sandbox.provider import SandboxProvider
from reelgate.providers.sandbox.scene import Scene
from reelgate.providers.xai import Xai
from tests.fakes import fake_openai, fake_xai
from tests.fakes.fake_openai import FakeVideos, VideoJob
from tests.fakes.fake_xai import FakeXai, XaiJob
from tests.fakes.wire import Bucket, Fault, Reply

# A real PNG's first bytes: enough for whoever looks at no more than the type.
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(64)


class Outcome(StrEnum):
    """What is to become of the next job."""

    DONE = auto()
    SLOW = auto()
    FAILED = auto()
    MODERATED = auto()
    EXPIRED = auto()
    REFUSED = auto()
    BUSY = auto()
    LOST_REPLY = auto()


class Upstream(Protocol):
    """A provider, and its upstream in our hands.

    `wrong_key` and `nowhere` are the same provider with a bad key and with nobody listening;
    None where it has no key or no address.
    """

    provider: Provider
    model: str
    wrong_key: Provider | None
    nowhere: Provider | None

    def expect(self, outcome: Outcome, job: Job) -> Job:
        """Prepare the upstream for `job`, and the job as it is to be submitted."""
        ...

    def made(self) -> int:
        """How many jobs the upstream has taken."""
        ...

    def forget_results(self) -> None: ...

    def change_results(self) -> None: ...


def job_of(operation: Operation, model: str, task_id: str = "task_1") -> Job:
    """A job of an operation with inputs of our own."""
    image, video = JobInput(mime="image/png", load=_png), JobInput(mime="video/mp4", load=_mp4)
    images = {Operation.IMAGE_TO_VIDEO: 1, Operation.REFERENCE_TO_VIDEO: 3}.get(operation, 0)
    has_source = operation in {Operation.EDIT_VIDEO, Operation.VIDEO_EXTEND}
    return Job(
        task_id=task_id,
        operation=operation,
        model=model,
        prompt="A paper boat, @Image1",
        seconds=None if operation is Operation.EDIT_VIDEO else 4,
        tier=None if has_source else "720p",
        aspect_ratio=None if has_source else "16:9",
        width=None if has_source else 1280,
        height=None if has_source else 720,
        images=(image,) * images,
        video=video if has_source else None,
    )


async def _png() -> bytes:
    return PNG


async def _mp4() -> bytes:
    return MP4


def loopback_guard() -> Guard:
    """A guard that may fetch from the fakes."""
    return Guard(Policy(allow_http=True, allow_private_network=True, ports=None))


# ---- xAI ----------------------------------------------------------------------------------


@dataclass
class XaiUpstream:
    provider: Provider
    wrong_key: Provider | None
    nowhere: Provider | None
    api: FakeXai
    bucket: Bucket
    model: str = fake_xai.MODEL

    def expect(self, outcome: Outcome, job: Job) -> Job:
        lives: Mapping[Outcome, Callable[[XaiJob], list[Reply]]] = {
            Outcome.SLOW: lambda _: [Reply(202, {"status": "pending", "progress": 7})],
            Outcome.FAILED: lambda _: [fake_xai.failed("internal_error", "Something broke.")],
            Outcome.MODERATED: lambda _: [Reply(202), fake_xai.MODERATED],
            Outcome.EXPIRED: lambda _: [Reply(200, {"status": "expired"})],
        }
        self.api.next_life = lives.get(outcome)
        refusals: Mapping[Outcome, Reply] = {
            Outcome.REFUSED: fake_xai.complaint(400, "invalid-argument", "Prompt is too long."),
            Outcome.BUSY: fake_xai.complaint(429, "resource-exhausted", "Too many requests."),
        }
        _arm(self.api.next_submits, self.api.faults, outcome, refusals)
        return job

    def made(self) -> int:
        return len(self.api.jobs)

    def forget_results(self) -> None:
        self.bucket.files.clear()

    def change_results(self) -> None:
        self.bucket.version += 1


@asynccontextmanager
async def xai_upstream(_folder: Path) -> AsyncIterator[Upstream]:
    async with AsyncExitStack() as stack:
        bucket = await stack.enter_async_context(Bucket())
        api = await stack.enter_async_context(FakeXai(bucket))
        guard = loopback_guard()
        stack.push_async_callback(guard.close)
        keys = ((api.url, fake_xai.KEY), (api.url, "xai-wrong"), ("http://127.0.0.1:9", "xai-k"))
        right, wrong, nowhere = (Xai(url, key, guard) for url, key in keys)
        for provider in (right, wrong, nowhere):
            stack.push_async_callback(provider.close)
        yield XaiUpstream(right, wrong, nowhere, api, bucket)


# ---- OpenAI's shape -----------------------------------------------------------------------


@dataclass
class VideosUpstream:
    provider: Provider
    wrong_key: Provider | None
    nowhere: Provider | None
    api: FakeVideos
    model: str = fake_openai.MODEL

    def expect(self, outcome: Outcome, job: Job) -> Job:
        api = self.api
        lives: Mapping[Outcome, Callable[[VideoJob], list[Reply]]] = {
            Outcome.SLOW: lambda made: [api.state(made, "in_progress")],
            Outcome.FAILED: lambda made: [api.broken(made, "The GPU fell over.")],
            Outcome.MODERATED: lambda made: [
                api.broken(made, "Blocked by content moderation.", "content_policy_violation")
            ],
            Outcome.EXPIRED: lambda made: [api.state(made, "expired")],
        }
        api.next_life = lives.get(outcome)
        refusals: Mapping[Outcome, Reply] = {
            Outcome.REFUSED: api.error(400, "invalid_value", "prompt is too long"),
            Outcome.BUSY: api.error(429, "rate_limit_exceeded", "Too many requests"),
        }
        _arm(api.next_submits, api.faults, outcome, refusals)
        return job

    def made(self) -> int:
        return len(self.api.jobs)

    def forget_results(self) -> None:
        for job in self.api.jobs.values():
            job.content = self.api.error(404, "not_found", "Video not found")

    def change_results(self) -> None:
        self.api.etag = '"another film"'


def videos_upstream(
    name: DialectName,
) -> Callable[[Path], AbstractAsyncContextManager[Upstream]]:
    @asynccontextmanager
    async def opened(_folder: Path) -> AsyncIterator[Upstream]:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(FakeVideos(name))
            guard = loopback_guard()
            stack.push_async_callback(guard.close)
            where = ((api.url, fake_openai.KEY), (api.url, "sk-wrong"), ("http://127.0.0.1:9", "k"))
            right, wrong, nowhere = (
                OpenAIVideos(url, key, guard, inputs_guard=guard, dialect=name)
                for url, key in where
            )
            for provider in (right, wrong, nowhere):
                stack.push_async_callback(provider.close)
            wrong_key = wrong if api.traits.needs_key else None
            upstream = VideosUpstream(right, wrong_key, nowhere, api)
            yield upstream

    return opened


def _arm(
    submits: deque[Reply],
    faults: deque[Fault],
    outcome: Outcome,
    refusals: Mapping[Outcome, Reply],
) -> None:
    """What goes wrong with the submit itself."""
    if outcome in refusals:
        submits.append(refusals[outcome])
    if outcome is Outcome.LOST_REPLY:
        faults.append(Fault(send=0, end="reset"))


# ---- the sandbox --------------------------------------------------------------------------


class _Camera:
    """Makes no pictures, at once."""

    async def render(
        self, scene: Scene, out: Path, on_progress: Callable[[int], None] | None = None
    ) -> None:
        await asyncio.to_thread(out.write_bytes, scene.prompt.encode() * 10_000)

    async def close(self) -> None:
        """Holds nothing."""


@dataclass
class SandboxUpstream:
    provider: Provider
    folder: Path
    model: str = "sandbox"
    wrong_key: Provider | None = None
    nowhere: Provider | None = None

    def expect(self, outcome: Outcome, job: Job) -> Job:
        tags: Mapping[Outcome, str] = {
            Outcome.SLOW: "[sandbox:slow=60]",
            Outcome.FAILED: "[sandbox:fail]",
            Outcome.MODERATED: "[sandbox:moderated]",
            Outcome.EXPIRED: "[sandbox:expired]",
            Outcome.REFUSED: "[sandbox:refuse]",
            Outcome.BUSY: "[sandbox:busy=1]",
            Outcome.LOST_REPLY: "[sandbox:lost-reply]",
        }
        return replace(job, prompt=f"{job.prompt} {tags.get(outcome, '')}")

    def made(self) -> int:
        return sum(submits(self.folder).values())

    def forget_results(self) -> None:
        for film in self.folder.rglob("*.mp4"):
            film.unlink()

    def change_results(self) -> None:
        for film in self.folder.rglob("*.mp4"):
            film.write_bytes(b"another film" * 10_000)


@asynccontextmanager
async def sandbox_upstream(folder: Path) -> AsyncIterator[Upstream]:
    guard, clock = loopback_guard(), ManualClock(1_790_000_000_000)
    provider = SandboxProvider(folder, renderer=_Camera(), guard=guard, now_ms=clock.now_ms)
    try:
        yield SandboxUpstream(provider, folder)
    finally:
        await provider.close()
        await guard.close()


UPSTREAMS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Upstream]]] = {
    "xai": xai_upstream,
    **{f"openai:{name}": videos_upstream(name) for name in DIALECTS},
    "sandbox": sandbox_upstream,
}
