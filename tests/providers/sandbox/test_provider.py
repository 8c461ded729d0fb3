"""The sandbox through the eyes of the gateway: whole lives over the provider protocol."""

import asyncio
import io
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image

from reelgate.domain.clock import ManualClock
from reelgate.domain.model import Operation
from reelgate.net.guard import Guard, Policy
from reelgate.providers.base import (
    Accepted,
    Cause,
    Done,
    Download,
    Failed,
    FetchError,
    Job,
    JobInput,
    NotTaken,
    Pending,
    PollAnswer,
    Provider,
    Refused,
    ResultChanged,
    ResultGone,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.sandbox import inputs, provider
from reelgate.providers.sandbox.films import Renderer
from reelgate.providers.sandbox.jobs import SUBMITS_LOG, submits
from reelgate.providers.sandbox.pool import RenderFailed, RenderPool
from reelgate.providers.sandbox.provider import SandboxProvider
from reelgate.providers.sandbox.scene import BadInput, Scene

T2V = Operation.TEXT_TO_VIDEO


class Camera:
    """A renderer that makes no pictures: quick, obedient, and it remembers what it was asked."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self.asked: asyncio.Queue[Scene] = asyncio.Queue()
        self.inputs: list[list[bytes]] = []
        self.errors: list[Exception] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.percent = 0
        self.closed = False

    async def render(
        self, scene: Scene, out: Path, on_progress: Callable[[int], None] | None = None
    ) -> None:
        self.scenes.append(scene)
        self.asked.put_nowait(scene)
        files = [*scene.images, *([scene.video] if scene.video else [])]
        self.inputs.append([path.read_bytes() for path in files])
        if on_progress:
            on_progress(self.percent)
        await self.may_finish.wait()
        if self.errors:
            raise self.errors.pop(0)
        film = f"film of {scene.prompt} ".encode() * 50_000
        await asyncio.to_thread(out.write_bytes, film)

    async def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """A sandbox that can be ended and started again over the same folder."""

    folder: Path
    clock: ManualClock
    camera: Camera
    guard: Guard
    sandbox: SandboxProvider

    async def submit(self, prompt: str = "a boat", task_id: str = "task_1", **job: Any) -> str:
        answer = await self.sandbox.submit(job_of(prompt, task_id, **job))
        assert isinstance(answer, Accepted)
        return answer.ref

    async def ended(self, ref: str) -> PollAnswer:
        return await ended(self.sandbox, ref)

    async def rendering(self, count: int = 1) -> None:
        """Until this many (more) films have been begun."""
        async with asyncio.timeout(5):
            for _ in range(count):
                await self.camera.asked.get()

    def crash(self) -> None:
        """Start anew, from nothing but what is on disk; the old one is left to hang."""
        self.camera = Camera()
        self.sandbox = new_sandbox(self)

    def files(self, pattern: str) -> list[str]:
        return sorted(path.name for path in self.folder.glob(pattern))


def new_sandbox(world: World, **options: Any) -> SandboxProvider:
    return SandboxProvider(
        world.folder,
        renderer=world.camera,
        guard=world.guard,
        now_ms=world.clock.now_ms,
        **options,
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock, camera = ManualClock(), Camera()
    async with open_guard() as guard:
        sandbox = SandboxProvider(
            tmp_path / "sandbox", renderer=camera, guard=guard, now_ms=clock.now_ms
        )
        world = World(tmp_path / "sandbox", clock, camera, guard, sandbox)
        yield world
        await world.sandbox.close()
        await sandbox.close()


@asynccontextmanager
async def open_guard() -> AsyncIterator[Guard]:
    guard = Guard(Policy(allow_http=True, allow_private_network=True, ports=None))
    yield guard
    await guard.close()


def job_of(prompt: str = "a boat", task_id: str = "task_1", **job: Any) -> Job:
    sized = {"operation": T2V, "seconds": 1, "tier": "480p", "width": 854, "height": 480}
    return Job(task_id=task_id, model="any", prompt=prompt, **{**sized, **job})


async def ended(sandbox: Provider, ref: str) -> PollAnswer:
    """The first answer that is not "still pending"."""
    async with asyncio.timeout(15):
        while True:
            answer = await sandbox.poll(ref)
            if not isinstance(answer, Pending):
                return answer
            await asyncio.sleep(0.001)


async def fetched(sandbox: Provider, result: str, **resume: Any) -> tuple[bytes, Download]:
    async with sandbox.fetch(result, **resume) as download:
        return b"".join([chunk async for chunk in download.chunks]), download


def of_bytes(data: bytes) -> JobInput:
    async def load() -> bytes:
        return data

    return JobInput(mime="image/png", load=load)


def picture(width: int = 64, height: int = 48, orientation: int | None = None) -> bytes:
    data, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height), "teal").save(data, "JPEG", exif=exif)
    return data.getvalue()


# A life without a fault


async def test_a_job_is_taken_made_and_fetched(world: World) -> None:
    ref = await world.submit("a boat")
    assert await world.ended(ref) == Done(ref, cost_ticks=None)
    data, download = await fetched(world.sandbox, ref)
    assert data == b"film of a boat " * 50_000
    assert (download.offset, download.total) == (0, len(data))


async def test_is_a_provider_that_says_what_it_can(world: World) -> None:
    upstream: Provider = world.sandbox
    assert (upstream.kind, upstream.repeat_safe, upstream.can_cancel) == ("sandbox", False, True)
    assert upstream.operations == set(Operation)


async def test_each_submit_makes_a_job_even_of_the_same_task(world: World) -> None:
    refs = {await world.submit(task_id=task_id) for task_id in ("a", "b", "a")}
    assert len(refs) == 3
    assert submits(world.folder) == Counter(a=2, b=1)


async def test_polling_again_after_the_end_says_the_same(world: World) -> None:
    ref = await world.submit()
    assert await world.ended(ref) == await world.sandbox.poll(ref) == Done(ref)


async def test_progress_is_that_of_the_renderer(world: World) -> None:
    world.camera.percent = 40
    world.camera.may_finish.clear()
    ref = await world.submit()
    await world.rendering()
    answer = await world.sandbox.poll(ref)
    assert answer == Pending(40, provider.POLL_MS_MIN)
    world.camera.may_finish.set()
    assert await world.ended(ref) == Done(ref)


async def test_a_finished_render_is_not_yet_a_hundred_percent(world: World) -> None:
    world.camera.percent = 100
    world.camera.may_finish.clear()
    ref = await world.submit()
    await world.rendering()
    assert await world.sandbox.poll(ref) == Pending(99, provider.POLL_MS_MIN)


@pytest.mark.parametrize("ref", ["sandbox_" + "a" * 32, "", "../../etc/passwd", "sandbox_", "x\0"])
async def test_an_unknown_job_has_expired(world: World, ref: str) -> None:
    answer = await world.sandbox.poll(ref)
    assert isinstance(answer, Failed) and answer.verdict is Verdict.EXPIRED
    assert not await world.sandbox.cancel(ref)
    with pytest.raises(ResultGone):
        await fetched(world.sandbox, ref)


async def test_more_jobs_than_turns_are_made_in_turn(world: World) -> None:
    world.camera.may_finish.clear()
    refs = [await world.submit(f"boat {n}") for n in range(provider.MAKING_MAX + 3)]
    await world.rendering(provider.MAKING_MAX)
    assert await world.sandbox.poll(refs[-1]) == Pending(0, provider.POLL_MS_MAX)
    assert len(world.camera.scenes) == provider.MAKING_MAX
    world.camera.may_finish.set()
    assert [await world.ended(ref) for ref in refs] == [Done(ref) for ref in refs]


async def test_memory_is_bounded_and_forgetting_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "LIVE_MAX", 4)
    slow = [await world.submit("boat [sandbox:slow=1]", f"task_{n}") for n in range(12)]
    world.clock.advance_ms(1_000)
    assert [await world.ended(ref) for ref in slow] == [Done(ref) for ref in slow]


async def test_check_names_what_is_missing(world: World) -> None:
    report = await world.sandbox.check(("grok-imagine-video",))
    assert report.reachable and report.models_missing == ()


async def test_close_stops_rendering_and_the_renderer(world: World) -> None:
    world.camera.may_finish.clear()
    ref = await world.submit()
    await world.rendering()
    await world.sandbox.close()
    assert world.camera.closed
    assert world.files("*.work") == [] and world.files("*.mp4") == []
    world.crash()
    assert await world.ended(ref) == Done(ref)


# Scripted lives


async def test_unknown_tags_are_refused_with_the_known_ones(world: World) -> None:
    answer = await world.sandbox.submit(job_of("a boat [sandbox:sink]"))
    assert isinstance(answer, Refused) and answer.verdict is Verdict.INVALID_INPUT
    assert "[sandbox:sink]" in answer.message and "moderated" in answer.message
    assert submits(world.folder) == Counter()


async def test_tags_are_not_shown_in_the_film(world: World) -> None:
    await world.ended(await world.submit("a [sandbox:cost=1] boat"))
    assert world.camera.scenes[0].prompt == "a boat"


async def test_tag_refuse(world: World) -> None:
    answer = await world.sandbox.submit(job_of("[sandbox:refuse]"))
    assert isinstance(answer, Refused) and answer.verdict is Verdict.FAILED
    answer = await world.sandbox.submit(job_of("[sandbox:refuse] [sandbox:moderated]"))
    assert isinstance(answer, Refused) and answer.verdict is Verdict.MODERATED
    assert submits(world.folder) == Counter()


@pytest.mark.parametrize(
    ("tag", "verdict"),
    [
        ("fail", Verdict.FAILED),
        ("moderated", Verdict.MODERATED),
        ("expired", Verdict.EXPIRED),
        ("input-unreachable", Verdict.INPUT_UNREACHABLE),
    ],
)
async def test_tags_that_end_a_job(world: World, tag: str, verdict: Verdict) -> None:
    ref = await world.submit(f"[sandbox:{tag}] [sandbox:cost=7]")
    answer = await world.ended(ref)
    assert isinstance(answer, Failed)
    assert (answer.verdict, answer.cost_ticks) == (verdict, 7)
    world.crash()
    assert await world.sandbox.poll(ref) == answer
    assert world.camera.scenes == []


async def test_tag_slow_rises_over_a_restart_to_the_millisecond(world: World) -> None:
    ref = await world.submit("[sandbox:slow=10]")
    await says(world, ref, Pending(0, 2_000))
    world.clock.advance_ms(2_500)
    await says(world, ref, Pending(25, 2_000))
    world.crash()
    world.clock.advance_ms(5_000)
    await says(world, ref, Pending(75, 2_000))
    world.clock.advance_ms(2_499)
    await says(world, ref, Pending(99, 250))
    world.clock.advance_ms(1)
    assert await world.sandbox.poll(ref) == Done(ref)


async def says(world: World, ref: str, answer: PollAnswer) -> None:
    """Until the film behind a slow job is made, after which only time moves it."""
    async with asyncio.timeout(5):
        while True:
            if await world.sandbox.poll(ref) == answer:
                return
            await asyncio.sleep(0.001)


async def test_tag_slow_comes_before_any_ending(world: World) -> None:
    ref = await world.submit("[sandbox:slow=2.5] [sandbox:fail]")
    assert await world.sandbox.poll(ref) == Pending(0, 2_000)
    world.clock.advance_ms(2_499)
    assert await world.sandbox.poll(ref) == Pending(99, 250)
    world.clock.advance_ms(1)
    assert isinstance(await world.sandbox.poll(ref), Failed)


async def test_tag_slow_waits_for_the_film(world: World) -> None:
    world.camera.may_finish.clear()
    ref = await world.submit("[sandbox:slow=1]")
    await world.rendering()
    world.clock.advance_ms(1_000)
    assert isinstance(await world.sandbox.poll(ref), Pending)
    world.camera.may_finish.set()
    assert await world.ended(ref) == Done(ref)


async def test_tag_no_progress(world: World) -> None:
    ref = await world.submit("[sandbox:slow=1] [sandbox:no-progress]")
    answer = await world.sandbox.poll(ref)
    assert isinstance(answer, Pending) and answer.progress is None


async def test_tag_lost_reply_makes_the_job_all_the_same(world: World) -> None:
    answer = await world.sandbox.submit(job_of("[sandbox:lost-reply]", "task_lost"))
    assert isinstance(answer, Uncertain) and answer.cause is Cause.NETWORK
    assert submits(world.folder) == Counter(task_lost=1)
    await world.rendering()
    (name,) = world.files("sandbox_*.json")
    ref = name.removesuffix(".json")
    assert await world.ended(ref) == Done(ref)


async def test_tag_busy_counts_by_task_and_over_restarts(world: World) -> None:
    job, other = job_of("[sandbox:busy=2]", "task_1"), job_of("[sandbox:busy=2]", "task_2")
    answers = [await world.sandbox.submit(job), await world.sandbox.submit(other)]
    world.crash()
    answers.append(await world.sandbox.submit(job))
    assert all(isinstance(a, NotTaken) and a.cause is Cause.OVERLOADED for a in answers)
    assert submits(world.folder) == Counter()
    assert isinstance(await world.sandbox.submit(job), Accepted)
    assert submits(world.folder) == Counter(task_1=1)


async def test_tag_poll_trouble_counts_over_restarts(world: World) -> None:
    ref = await world.submit("[sandbox:poll-trouble=3]")
    answers = [await world.sandbox.poll(ref) for _ in range(2)]
    world.crash()
    answers.append(await world.sandbox.poll(ref))
    assert all(isinstance(a, Trouble) and a.cause is Cause.OVERLOADED for a in answers)
    assert await world.ended(ref) == Done(ref)


async def test_tag_garbage(world: World) -> None:
    ref = await world.submit("[sandbox:garbage]")
    assert await world.ended(ref) == Done(ref)
    data, _ = await fetched(world.sandbox, ref)
    with pytest.raises(av.error.FFmpegError):
        av.open(io.BytesIO(data))
    assert len(data) > 1_000


@pytest.mark.parametrize("tag", ["unreachable", "result-unreachable"])
async def test_tag_unreachable(world: World, tag: str) -> None:
    ref = await world.submit(f"[sandbox:{tag}]")
    assert await world.ended(ref) == Done(ref)
    for _ in range(5):
        with pytest.raises(FetchError):
            await fetched(world.sandbox, ref)


async def test_tag_unreachable_for_a_while_and_then_truncated(world: World) -> None:
    ref = await world.submit("boat [sandbox:unreachable=2] [sandbox:truncated=1]")
    await world.ended(ref)
    for _ in range(2):
        with pytest.raises(FetchError):
            async with world.sandbox.fetch(ref):
                pytest.fail("was reachable")
        world.crash()
    with pytest.raises(FetchError):
        await fetched(world.sandbox, ref)
    assert (await fetched(world.sandbox, ref))[0] == b"film of boat " * 50_000


async def test_tag_truncated_can_be_resumed(world: World) -> None:
    ref = await world.submit("boat [sandbox:truncated=3]")
    await world.ended(ref)
    data, etag, breaks = b"", None, 0
    while True:
        try:
            async with world.sandbox.fetch(ref, len(data), etag) as download:
                assert download.offset == len(data)
                etag = download.etag
                async for chunk in download.chunks:
                    data += chunk
            break
        except FetchError:
            breaks += 1
            assert 0 < len(data) < 650_000
    assert (data, breaks) == (b"film of boat " * 50_000, 3)


async def test_tag_cost(world: World) -> None:
    ref = await world.submit("[sandbox:cost=4200000000]")
    assert await world.ended(ref) == Done(ref, cost_ticks=4_200_000_000)


async def test_tag_no_cancel(world: World) -> None:
    ref = await world.submit("[sandbox:no-cancel] [sandbox:slow=1]")
    assert not await world.sandbox.cancel(ref)
    world.clock.advance_ms(1_000)
    assert await world.ended(ref) == Done(ref)


# Cancelling


async def test_cancel_stops_a_running_job_for_good(world: World) -> None:
    world.camera.may_finish.clear()
    ref = await world.submit()
    await world.rendering()
    assert await world.sandbox.cancel(ref)
    answer = await world.sandbox.poll(ref)
    assert isinstance(answer, Failed) and answer.verdict is Verdict.CANCELLED
    assert world.files("*.work") == []
    world.crash()
    assert await world.sandbox.poll(ref) == answer
    assert world.camera.scenes == []


async def test_cancel_of_a_job_in_the_queue_or_after_a_restart(world: World) -> None:
    ref = await world.submit("[sandbox:slow=100]")
    await world.rendering()
    world.crash()
    assert await world.sandbox.cancel(ref)
    assert not await world.sandbox.cancel(ref)
    answer = await world.sandbox.poll(ref)
    assert isinstance(answer, Failed) and answer.verdict is Verdict.CANCELLED


async def test_cancel_of_an_ended_job_does_nothing(world: World) -> None:
    done, failed = await world.submit(), await world.submit("[sandbox:fail]")
    await world.ended(done)
    assert not await world.sandbox.cancel(done)
    assert not await world.sandbox.cancel(failed)
    assert await world.sandbox.poll(done) == Done(done)


async def test_cancel_does_not_disturb_another_job_of_the_same_scene(world: World) -> None:
    world.camera.may_finish.clear()
    first, second = await world.submit(), await world.submit()
    await world.rendering()
    assert await world.sandbox.cancel(first)
    world.camera.may_finish.set()
    assert await world.ended(second) == Done(second)


# Inputs


@pytest.fixture
async def foreign() -> AsyncIterator[Callable[[str], str]]:
    """URLs of a host that somebody else named."""

    async def answer(request: web.Request) -> web.Response:
        match request.path:
            case "/picture":
                return web.Response(body=picture())
            case "/huge":
                return web.Response(body=bytes(inputs.IMAGE_BYTES_MAX + 1))
            case _:
                return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path}", answer)
    async with TestServer(app) as server:
        yield lambda path: str(server.make_url(path))


def image_job(image: JobInput, **job: Any) -> dict[str, Any]:
    return {"operation": Operation.IMAGE_TO_VIDEO, "images": (image,), **job}


async def test_inputs_reach_the_renderer_by_url_and_as_bytes(
    world: World, foreign: Callable[[str], str]
) -> None:
    images = (JobInput(url=foreign("/picture")), of_bytes(b"two"))
    ref = await world.submit(operation=Operation.REFERENCE_TO_VIDEO, images=images)
    assert await world.ended(ref) == Done(ref)
    assert world.camera.inputs == [[picture(), b"two"]]
    video = of_bytes(b"clip")
    edit: dict[str, Any] = {
        "operation": Operation.EDIT_VIDEO,
        "seconds": None,
        "width": None,
        "height": None,
    }
    ref = await world.submit(video=video, **edit)
    assert await world.ended(ref) == Done(ref)
    assert world.camera.inputs[1:] == [[b"clip"]]
    assert world.files("*.work") == []


async def test_bytes_are_read_once_and_survive_a_restart(world: World) -> None:
    loads = 0

    async def load() -> bytes:
        nonlocal loads
        loads += 1
        return b"once"

    world.camera.may_finish.clear()
    ref = await world.submit(**image_job(JobInput(load=load)))
    await world.rendering()
    world.crash()
    assert await world.ended(ref) == Done(ref)
    assert (world.camera.inputs, loads) == ([[b"once"]], 1)


async def test_what_load_raises_passes_through_and_nothing_was_taken(world: World) -> None:
    async def load() -> bytes:
        raise FileNotFoundError("our own store")

    with pytest.raises(FileNotFoundError, match="our own store"):
        await world.sandbox.submit(job_of(**image_job(JobInput(load=load))))
    assert submits(world.folder) == Counter()


@pytest.mark.parametrize(
    ("path", "verdict", "word"),
    [
        ("/missing", Verdict.INPUT_UNREACHABLE, "404"),
        ("/huge", Verdict.INVALID_INPUT, str(inputs.IMAGE_BYTES_MAX)),
    ],
)
async def test_an_input_that_can_not_be_had(
    world: World, foreign: Callable[[str], str], path: str, verdict: Verdict, word: str
) -> None:
    ref = await world.submit(**image_job(JobInput(url=foreign(path))))
    answer = await world.ended(ref)
    assert isinstance(answer, Failed) and answer.verdict is verdict
    assert word in answer.message and "127.0.0.1" not in answer.message
    world.crash()
    assert await world.sandbox.poll(ref) == answer


async def test_an_input_that_the_guard_refuses(world: World) -> None:
    ref = await world.submit(**image_job(JobInput(url="http://169.254.169.254/latest")))
    answer = await world.ended(ref)
    assert isinstance(answer, Failed) and answer.verdict is Verdict.INPUT_UNREACHABLE


async def test_an_input_that_can_not_be_filmed(world: World) -> None:
    world.camera.errors.append(BadInput("the video is upside down"))
    ref = await world.submit()
    expected = Failed(Verdict.INVALID_INPUT, "the video is upside down")
    assert await world.ended(ref) == expected
    world.crash()
    assert await world.sandbox.poll(ref) == expected


@pytest.mark.parametrize(
    ("image", "tier", "size"),
    [
        (picture(300, 200), "480p", (720, 480)),
        (picture(300, 200), "720p", (1080, 720)),
        (picture(200, 300), "480p", (480, 720)),
        (picture(300, 200, orientation=6), "480p", (480, 720)),
        (picture(1000, 997), "480p", (482, 480)),
    ],
)
async def test_a_film_without_a_size_takes_the_shape_of_its_image(
    world: World, image: bytes, tier: str, size: tuple[int, int]
) -> None:
    job = image_job(of_bytes(image), tier=tier, width=None, height=None)
    await world.ended(await world.submit(**job))
    assert (world.camera.scenes[0].width, world.camera.scenes[0].height) == size


async def test_a_film_without_a_size_needs_an_image_that_is_one(world: World) -> None:
    ref = await world.submit(**image_job(of_bytes(b"<svg/>"), width=None, height=None))
    answer = await world.ended(ref)
    assert isinstance(answer, Failed) and answer.verdict is Verdict.INVALID_INPUT


@pytest.mark.parametrize(("tier", "side"), [("480p", 480), ("720p", 720), (None, None)])
async def test_an_edit_is_no_bigger_than_its_tier(
    world: World, tier: str | None, side: int | None
) -> None:
    job: dict[str, Any] = {
        "operation": Operation.EDIT_VIDEO,
        "width": None,
        "height": None,
        "tier": tier,
    }
    await world.ended(await world.submit(video=of_bytes(b"clip"), **job))
    assert (world.camera.scenes[0].width, world.camera.scenes[0].height) == (side, side)


# Films are made once


async def test_equal_scenes_are_rendered_once(world: World) -> None:
    world.camera.may_finish.clear()
    image = picture()
    refs = [await world.submit(**image_job(of_bytes(image))) for _ in range(3)]
    await world.rendering()
    world.camera.may_finish.set()
    assert [await world.ended(ref) for ref in refs] == [Done(ref) for ref in refs]
    world.crash()
    later = await world.submit(**image_job(of_bytes(image)))
    assert await world.ended(later) == Done(later)
    assert world.camera.scenes == []
    films = {(await fetched(world.sandbox, ref))[0] for ref in (*refs, later)}
    assert films == {b"film of a boat " * 50_000}


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "another"},
        {"seconds": 2},
        {"width": 848},
        {"height": 640},
        {"images": (of_bytes(b"other"),)},
        {"images": (of_bytes(b"one"), of_bytes(b"one"))},
        {"operation": Operation.REFERENCE_TO_VIDEO},
    ],
)
async def test_scenes_that_differ_in_anything_are_not_equal(
    world: World, change: dict[str, Any]
) -> None:
    job = image_job(of_bytes(b"one"))
    await world.ended(await world.submit(**job))
    await world.ended(await world.submit(**{**job, **change}))
    assert len(world.camera.scenes) == 2


async def test_the_cache_is_bounded_and_jobs_keep_their_films(world: World) -> None:
    world.sandbox = new_sandbox(world, cache_bytes_max=1_200_000)
    refs = []
    for name in "abcdef":
        refs.append(await world.submit(name))
        await world.ended(refs[-1])
        assert len(world.files("cache/*")) <= 2
    await world.ended(await world.submit("f"))
    assert len(world.camera.scenes) == 6
    for ref, name in zip(refs, "abcdef", strict=True):
        assert (await fetched(world.sandbox, ref))[0] == f"film of {name} ".encode() * 50_000


async def test_films_are_copied_where_links_can_not_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", no_links)
    for _ in range(2):
        ref = await world.submit("boat")
        assert await world.ended(ref) == Done(ref)
        assert (await fetched(world.sandbox, ref))[0] == b"film of boat " * 50_000
    assert len(world.camera.scenes) == 1


# Fetching


@pytest.mark.parametrize("offset", [0, 1, 300_000, 749_999, 750_000])
async def test_a_download_begins_where_it_is_asked_to(world: World, offset: int) -> None:
    ref = await world.submit("a boat")
    await world.ended(ref)
    whole, first = await fetched(world.sandbox, ref)
    rest, download = await fetched(world.sandbox, ref, offset=offset, etag=first.etag)
    assert rest == whole[offset:]
    assert (download.offset, download.total, download.etag) == (offset, len(whole), first.etag)


async def test_a_resumed_download_is_of_the_same_film(world: World) -> None:
    ref = await world.submit()
    await world.ended(ref)
    for resume in ({"offset": 5, "etag": '"other"'}, {"offset": 750_001}):
        with pytest.raises(ResultChanged):
            await fetched(world.sandbox, ref, **resume)


async def test_a_film_that_got_lost_is_made_again(world: World) -> None:
    ref = await world.submit()
    await world.ended(ref)
    (world.folder / f"{ref}.mp4").unlink()
    with pytest.raises(ResultGone):
        await fetched(world.sandbox, ref)
    assert await world.ended(ref) == Done(ref)
    assert (await fetched(world.sandbox, ref))[0]


# When the machine is in trouble


async def test_a_job_that_can_not_be_stored_is_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = await world.sandbox.submit(job_of(**image_job(of_bytes(b"x"))))
    assert isinstance(answer, NotTaken) and "No space left" in answer.detail
    monkeypatch.undo()
    assert world.files("*") == ["cache"]


async def test_no_room_for_a_film_is_trouble_and_then_passes(world: World) -> None:
    world.camera.errors += [OSError(28, "No space left on device")] * 5
    ref = await world.submit()
    troubles = []
    while not isinstance(answer := await world.ended(ref), Done):
        troubles.append(answer)
    assert len(troubles) == 5 and all(isinstance(answer, Trouble) for answer in troubles)


async def test_a_renderer_that_breaks_is_tried_again_but_not_for_ever(world: World) -> None:
    world.camera.errors += [RenderFailed("crashed")] * provider.ATTEMPTS_MAX
    ref = await world.submit()
    answers = [await world.ended(ref) for _ in range(provider.ATTEMPTS_MAX)]
    assert all(isinstance(answer, Trouble) for answer in answers[:-1])
    assert isinstance(answers[-1], Failed) and answers[-1].verdict is Verdict.FAILED
    assert "crashed" not in answers[-1].message


async def test_a_damaged_record_is_trouble_not_a_verdict(world: World) -> None:
    ref = await world.submit()
    await world.ended(ref)
    (world.folder / f"{ref}.json").write_bytes(b'{"ref":')
    answer = await world.sandbox.poll(ref)
    assert isinstance(answer, Trouble) and answer.cause is Cause.UNREADABLE
    assert not await world.sandbox.cancel(ref)
    with pytest.raises(FetchError):
        await fetched(world.sandbox, ref)


# Restarts


async def test_a_restart_takes_up_what_was_being_made(world: World) -> None:
    world.camera.may_finish.clear()
    refs = [await world.submit(f"boat {n}") for n in range(6)]
    await world.rendering()
    world.crash()
    assert [await world.ended(ref) for ref in refs] == [Done(ref) for ref in refs]
    assert len(world.camera.scenes) == 6
    assert sum(submits(world.folder).values()) == 6


async def test_many_polls_after_a_restart_begin_a_job_once(world: World) -> None:
    world.camera.may_finish.clear()
    ref = await world.submit()
    await world.rendering()
    world.crash()
    world.camera.may_finish.clear()
    await asyncio.gather(*(world.sandbox.poll(ref) for _ in range(10)))
    await world.rendering()
    assert len(world.camera.scenes) == 1


SUBMIT_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from reelgate.domain.clock import SystemClock
from reelgate.domain.model import Operation
from reelgate.net.guard import Guard, Policy
from reelgate.providers.base import Job
from reelgate.providers.sandbox.provider import SandboxProvider

class Camera:
    async def render(self, scene, out, on_progress=None):
        out.write_bytes(b"film")
    async def close(self):
        pass

async def main():
    sandbox = SandboxProvider(
        Path(sys.argv[1]), renderer=Camera(), guard=Guard(Policy()), now_ms=SystemClock().now_ms
    )
    number = 0
    while True:
        job = Job(f"task_{number}", Operation.TEXT_TO_VIDEO, "any", f"boat {number}", 1,
                  width=64, height=64)
        print((await sandbox.submit(job)).ref, flush=True)
        number += 1

asyncio.run(main())
"""


async def test_killed_at_any_moment_every_accepted_job_is_there(world: World) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUBMIT_FOR_EVER, str(world.folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    refs = [(await process.stdout.readline()).decode().strip() for _ in range(100)]
    process.send_signal(signal.SIGKILL)
    refs += (await process.stdout.read()).decode().split("\n")[:-1]
    await process.wait()
    world.crash()
    assert [await world.ended(ref) for ref in refs] == [Done(ref) for ref in refs]
    counted = submits(world.folder)
    assert set(counted.values()) == {1}
    assert len(refs) <= counted.total() <= len(refs) + 1


# Tidying


async def test_tidying_forgets_old_jobs_but_not_that_there_were_some(world: World) -> None:
    kept = provider.JOBS_KEPT_MS
    old = await world.submit("[sandbox:truncated=1]", "task_old", **image_job(of_bytes(b"x")))
    await world.ended(old)
    with pytest.raises(FetchError):
        await fetched(world.sandbox, old)
    world.clock.advance_ms(kept)
    new = await world.submit("new", "task_new")
    await world.ended(new)
    assert await world.sandbox.tidy() == 0
    world.clock.advance_ms(1)
    assert await world.sandbox.tidy() == 1
    assert world.files(f"{old}*") == []
    assert world.files("*") == ["cache", f"{new}.json", f"{new}.mp4", SUBMITS_LOG]
    assert submits(world.folder) == Counter(task_old=1, task_new=1)
    answer = await world.sandbox.poll(old)
    assert isinstance(answer, Failed) and answer.verdict is Verdict.EXPIRED
    assert await world.sandbox.poll(new) == Done(new)


async def test_tidying_leaves_alone_what_is_being_made(world: World) -> None:
    world.camera.may_finish.clear()
    ref = await world.submit()
    await world.rendering()
    world.clock.advance_ms(provider.JOBS_KEPT_MS * 2)
    assert await world.sandbox.tidy() == 0
    world.camera.may_finish.set()
    assert await world.ended(ref) == Done(ref)


async def test_tidying_removes_what_crashes_left_behind(world: World) -> None:
    ref = await world.submit()
    await world.ended(ref)
    (world.folder / f"{ref}.abc.work").mkdir()
    (world.folder / f"{ref}.abc.work" / "film.mp4").write_bytes(b"half")
    (world.folder / f"{ref}.json.0123.tmp").write_bytes(b"half")
    assert await world.sandbox.tidy(-(10**13)) == 1  # as if much later
    assert world.files("*") == ["cache", SUBMITS_LOG]


async def test_a_tidying_that_was_cut_off_counts_nothing_twice(world: World) -> None:
    await world.ended(ref := await world.submit(task_id="task_a"))
    record = (world.folder / f"{ref}.json").read_bytes()
    world.clock.advance_ms(1)
    await world.sandbox.tidy(0)
    (world.folder / f"{ref}.json").write_bytes(record)  # logged, but not removed
    with (world.folder / SUBMITS_LOG).open("a") as log:
        log.write(ref)  # torn
    assert submits(world.folder) == Counter(task_a=1)
    assert await world.sandbox.tidy(0) == 1
    assert submits(world.folder) == Counter(task_a=1)


# Real films


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[SandboxProvider]:
    """A sandbox with the real renderer."""
    async with open_guard() as guard:
        renderer: Renderer = RenderPool()
        sandbox = SandboxProvider(
            tmp_path / "sandbox", renderer=renderer, guard=guard, now_ms=ManualClock().now_ms
        )
        yield sandbox
        await sandbox.close()


@dataclass(frozen=True)
class Facts:
    size: tuple[int, int]
    seconds: float
    streams: tuple[str, ...]


def facts_of(film: bytes) -> Facts:
    with av.open(io.BytesIO(film), "r") as container:
        pictures = container.streams.video[0]
        frames = sum(1 for _ in container.decode(pictures))
        return Facts(
            (pictures.width, pictures.height),
            frames / 24,
            tuple(stream.codec_context.name for stream in container.streams),
        )


async def filmed(studio: SandboxProvider, job: Job) -> bytes:
    answer = await studio.submit(job)
    assert isinstance(answer, Accepted)
    done = await ended(studio, answer.ref)
    assert isinstance(done, Done), done
    return (await fetched(studio, done.result))[0]


async def test_all_five_operations_make_real_films(studio: SandboxProvider) -> None:
    small: dict[str, Any] = {"width": 480, "height": 480}
    text = await filmed(studio, job_of("a boat", seconds=2, **small))
    assert facts_of(text) == Facts((480, 480), 2, ("h264", "aac"))
    auto = image_job(of_bytes(picture(120, 160)), width=None, height=None)
    assert facts_of(await filmed(studio, job_of("moves", **auto))).size == (480, 640)
    several: dict[str, Any] = {"images": (of_bytes(picture()), of_bytes(picture(48, 64))), **small}
    references = job_of("@Image1", operation=Operation.REFERENCE_TO_VIDEO, **several)
    assert facts_of(await filmed(studio, references)).seconds == 1
    source: dict[str, Any] = {"video": of_bytes(text), "tier": None, "width": None, "height": None}
    edit = job_of("sepia", operation=Operation.EDIT_VIDEO, **{**source, "seconds": None})
    edited = await filmed(studio, edit)
    assert facts_of(edited) == facts_of(text) and edited != text
    extended = await filmed(studio, job_of("on", operation=Operation.VIDEO_EXTEND, **source))
    assert facts_of(extended) == Facts((480, 480), 3, ("h264", "aac"))


@pytest.mark.parametrize(
    "job",
    [
        image_job(of_bytes(b"not a picture")),
        {"operation": Operation.EDIT_VIDEO, "video": of_bytes(b"no clip"), "seconds": None},
    ],
)
async def test_undecodable_inputs_are_invalid(studio: SandboxProvider, job: dict[str, Any]) -> None:
    answer = await studio.submit(job_of(**job))
    assert isinstance(answer, Accepted)
    end = await ended(studio, answer.ref)
    assert isinstance(end, Failed) and end.verdict is Verdict.INVALID_INPUT
