"""What is sent to xAI, field by field, and where its results are fetched from."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from reelgate.domain.errors import OperatorError
from reelgate.domain.model import Operation
from reelgate.providers.base import Accepted, Done, FetchError, Job, JobInput, Pending, Refused
from reelgate.providers.xai import IMAGE_TAGS, ImageTags, Xai, tagged
from tests.fakes.fake_xai import FILM, KEY, MODEL, FakeXai, done
from tests.fakes.wire import Bucket, End, Fault, Reply, Request, Wire, ranged
from tests.providers.upstreams import MP4, PNG, job_of, loopback_guard

LINK = JobInput(url="https://example.com/a.png")
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
MP4_URI = "data:video/mp4;base64," + base64.b64encode(MP4).decode()


class World:
    def __init__(self, stack: AsyncExitStack, api: FakeXai, bucket: Bucket) -> None:
        self._stack = stack
        self.api = api
        self.bucket = bucket

    def xai(self, *, base_url: str | None = None, image_tags: ImageTags = "as_given") -> Xai:
        guard = loopback_guard()
        provider = Xai(base_url or self.api.url, KEY, guard, image_tags=image_tags)
        self._stack.push_async_callback(provider.close)
        self._stack.push_async_callback(guard.close)
        return provider

    async def sent(self, job: Job, xai: Xai | None = None) -> tuple[str, dict[str, Any]]:
        """The path and the body that a job is submitted with."""
        answer = await (xai or self.xai()).submit(job)
        assert isinstance(answer, Accepted), answer
        request = self.api.requests[-1]
        fields: dict[str, Any] = request.json()
        return request.path, fields

    async def fetched(self, result: str, xai: Xai) -> bytes:
        async with xai.fetch(result) as download:
            return b"".join([chunk async for chunk in download.chunks])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        bucket = await stack.enter_async_context(Bucket())
        api = await stack.enter_async_context(FakeXai(bucket))
        yield World(stack, api, bucket)


async def test_text_to_video(world: World) -> None:
    job = replace(job_of(Operation.TEXT_TO_VIDEO, MODEL), user="customer-7")
    assert await world.sent(job) == (
        "/v1/videos/generations",
        {
            "model": MODEL,
            "prompt": "A paper boat, @Image1",
            "duration": 4,
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "user": "customer-7",
        },
    )


async def test_an_image_by_link_and_a_ratio_that_the_image_decides(world: World) -> None:
    job = job_of(Operation.IMAGE_TO_VIDEO, MODEL)
    for ratio in ("auto", None):
        _, fields = await world.sent(replace(job, images=(LINK,), aspect_ratio=ratio))
        assert fields == {
            "model": MODEL,
            "prompt": "A paper boat, @Image1",
            "duration": 4,
            "resolution": "720p",
            "image": {"url": LINK.url},
        }


async def test_reference_images_keep_their_order_links_and_bytes_mixed(world: World) -> None:
    job = job_of(Operation.REFERENCE_TO_VIDEO, MODEL)
    path, fields = await world.sent(replace(job, images=(job.images[0], LINK, job.images[1])))
    assert path == "/v1/videos/generations"
    urls = [PNG_URI, LINK.url, PNG_URI]
    assert fields["reference_images"] == [{"url": url} for url in urls]
    assert "image" not in fields


async def test_an_edit_has_a_source_and_nothing_that_the_source_decides(world: World) -> None:
    job = replace(job_of(Operation.EDIT_VIDEO, MODEL), user="u", tier="720p", aspect_ratio="1:1")
    path, fields = await world.sent(job)
    assert path == "/v1/videos/edits"
    assert set(fields) == {"model", "prompt", "video", "user"}
    assert fields["video"] == {"url": MP4_URI}


async def test_an_extension_has_seconds_to_add_and_no_user(world: World) -> None:
    job = replace(job_of(Operation.VIDEO_EXTEND, MODEL), user="u", tier="480p")
    path, fields = await world.sent(job)
    assert path == "/v1/videos/extensions"
    assert set(fields) == {"model", "prompt", "video", "duration"}
    assert fields["duration"] == 4


async def test_a_big_source_arrives_whole(world: World) -> None:
    film = bytes(range(256)) * 40_000

    async def load() -> bytes:
        return film

    source = JobInput(mime="video/mp4", load=load)
    _, fields = await world.sent(replace(job_of(Operation.EDIT_VIDEO, MODEL), video=source))
    assert base64.b64decode(fields["video"]["url"].partition(",")[2]) == film


async def test_what_loading_an_input_raises_passes_and_nothing_was_sent(world: World) -> None:
    async def load() -> bytes:
        raise OSError("the disk is gone")

    job = replace(job_of(Operation.EDIT_VIDEO, MODEL), video=JobInput(load=load))
    with pytest.raises(OSError, match="the disk is gone"):
        await world.xai().submit(job)
    assert world.api.connections == 0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("as_given", "@Image1 meets @Image2, not @image3 or Image4"),
        ("zero_based", "<IMAGE_0> meets <IMAGE_1>, not @image3 or Image4"),
        ("one_based", "<IMAGE_1> meets <IMAGE_2>, not @image3 or Image4"),
    ],
)
async def test_image_tags(world: World, setting: ImageTags, expected: str) -> None:
    prompt = "@Image1 meets @Image2, not @image3 or Image4"
    assert tagged(prompt, setting) == expected
    job = replace(job_of(Operation.REFERENCE_TO_VIDEO, MODEL), prompt=prompt)
    _, fields = await world.sent(job, world.xai(image_tags=setting))
    assert fields["prompt"] == expected


async def test_tags_stay_where_no_image_is(world: World) -> None:
    job = job_of(Operation.TEXT_TO_VIDEO, MODEL)
    for setting in IMAGE_TAGS:
        _, fields = await world.sent(job, world.xai(image_tags=setting))
        assert fields["prompt"] == job.prompt


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_end_in_v1(world: World, ending: str) -> None:
    xai = world.xai(base_url=world.api.url + ending)
    path, _ = await world.sent(job_of(Operation.TEXT_TO_VIDEO, MODEL), xai)
    assert path == "/v1/videos/generations"


async def test_the_upstream_validates_what_we_send(world: World) -> None:
    """The fake is strict, so that the tests above mean something."""
    job = replace(job_of(Operation.TEXT_TO_VIDEO, MODEL), seconds=99)
    assert isinstance(await world.xai().submit(job), Refused)
    assert world.api.jobs == {}


async def test_a_ref_stays_one_segment(world: World) -> None:
    for ref in ("../../v1/models", "a/b?c=d#e", "%2e%2e"):
        await world.xai().poll(ref)
        assert world.api.requests[-1].target.startswith("/v1/videos/")
        assert world.api.requests[-1].target.count("/") == 3
        assert "?" not in world.api.requests[-1].target


@pytest.mark.parametrize("ref", ["", ".", "..", "a b", "é", "x" * 513, 7, None, ["a"], "a\n"])
async def test_a_ref_that_can_not_be_asked_for_is_not_accepted(world: World, ref: object) -> None:
    world.api.next_submits.append(Reply(200, {"request_id": ref}))
    answer = await world.xai().submit(job_of(Operation.TEXT_TO_VIDEO, MODEL))
    assert not isinstance(answer, Accepted)


async def test_results_on_another_host_are_fetched_without_the_key(world: World) -> None:
    xai = world.xai()
    url = world.bucket.put("film.mp4", FILM)
    assert await world.fetched(url, xai) == FILM
    assert "authorization" not in world.bucket.requests[-1].headers


class Relay(Wire):
    """A relay whose results lie on itself, behind the key, or a redirect away."""

    def __init__(self, elsewhere: str) -> None:
        super().__init__()
        self.elsewhere = elsewhere

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Reply(401, {"error": "no key"})
        if request.path == "/moved":
            return Reply(302, b"", {"Location": self.elsewhere})
        if request.path == "/near":
            return Reply(302, b"", {"Location": "/film"})
        if request.path == "/loop":
            return Reply(302, b"", {"Location": "/loop"})
        return ranged(request, FILM, '"r"')


async def test_results_on_the_configured_host_are_fetched_with_the_key(world: World) -> None:
    async with Relay(world.bucket.put("film.mp4", FILM)) as relay:
        xai = world.xai(base_url=relay.url)
        assert await world.fetched(f"{relay.url}/film", xai) == FILM
        assert await world.fetched(f"{relay.url}/near", xai) == FILM
        assert await world.fetched(f"{relay.url}/moved", xai) == FILM
        assert "authorization" not in world.bucket.requests[-1].headers
        with pytest.raises(FetchError):
            await world.fetched(f"{relay.url}/loop", xai)


async def test_a_host_that_only_looks_like_ours_gets_no_key(world: World) -> None:
    xai = world.xai(base_url="http://127.0.0.1")
    with pytest.raises(FetchError):
        await world.fetched(f"{world.api.url}.example/film", xai)
    url = world.bucket.put("film.mp4", FILM)
    assert await world.fetched(url, xai) == FILM
    assert "authorization" not in world.bucket.requests[-1].headers


async def test_a_result_that_is_no_video_is_not_taken(world: World) -> None:
    class Page(Wire):
        def answer(self, request: Request) -> Reply:
            return Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"})

    async with Page() as page:
        with pytest.raises(FetchError):
            await world.fetched(f"{page.url}/film.mp4", world.xai())


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_download_that_breaks_off_is_resumed_from_there(world: World, end: End) -> None:
    url, xai, got = world.bucket.put("film.mp4", FILM), world.xai(), bytearray()
    world.bucket.faults.append(Fault(send=50_000, end=end))

    async def rest(etag: str | None) -> str | None:
        async with xai.fetch(url, len(got), etag) as download:
            assert download.offset == len(got)
            async for chunk in download.chunks:
                got.extend(chunk)
            return download.etag

    with pytest.raises(FetchError):
        await rest(None)
    assert 0 <= len(got) < 50_000
    await rest(f'"v{world.bucket.version}"')
    assert bytes(got) == FILM


async def test_done_then_pending_again_is_told_as_it_is(world: World) -> None:
    """Progress that falls and ends that are taken back are the flows' to judge."""
    url = world.bucket.put("x.mp4", FILM)
    world.api.next_life = lambda _: [
        Reply(200, {"status": "pending", "progress": 80}),
        Reply(200, {"status": "pending", "progress": 20}),
        done(url),
        Reply(200, {"status": "pending", "progress": 90}),
    ]
    xai = world.xai()
    answer = await xai.submit(job_of(Operation.TEXT_TO_VIDEO, MODEL))
    assert isinstance(answer, Accepted)
    polls = [await xai.poll(answer.ref) for _ in range(4)]
    assert polls == [Pending(80), Pending(20), Done(url, 2_500_000_000), Pending(90)]


@pytest.mark.parametrize("key", ["xai-a\nX-Evil: 1", "xai a", "xai-é", "xai-a\x00"])
async def test_a_key_that_no_header_can_carry_is_the_operators_mistake(key: str) -> None:
    with pytest.raises(OperatorError, match="line break") as caught:
        Xai("https://api.x.ai", key, loopback_guard())
    assert "xai-" not in str(caught.value)
