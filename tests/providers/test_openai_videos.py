"""What is sent to each kind of OpenAI-compatible server, and what is never passed on from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from reelgate.domain.model import Operation
from reelgate.net.guard import Guard, Policy
from reelgate.providers.base import (
    Accepted,
    Done,
    JobInput,
    Refused,
    ResultGone,
    SubmitAnswer,
    Verdict,
)
from reelgate.providers.dialects import DIALECTS, DialectName
from reelgate.providers.openai_videos import OpenAIVideos, billed_ticks
from tests.fakes.fake_openai import FILM, KEY, MODEL, FakeVideos
from tests.fakes.wire import Bucket, Part, Reply
from tests.providers.upstreams import MP4, PNG, job_of, loopback_guard

T2V, I2V = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO
LINK = JobInput(url="https://example.com/a.png")
FORMS: tuple[DialectName, ...] = tuple(
    name for name, dialect in DIALECTS.items() if not dialect.as_json
)
PLAIN = {"model": MODEL, "prompt": "A paper boat, @Image1", "seconds": "4", "size": "1280x720"}


class Worlds:
    """Servers and providers, closed at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def open(
        self, dialect: DialectName, key: str | None = KEY
    ) -> tuple[OpenAIVideos, FakeVideos]:
        api = await self._stack.enter_async_context(FakeVideos(dialect))
        guard = loopback_guard()
        provider = OpenAIVideos(f"{api.url}/v1", key, guard, inputs_guard=guard, dialect=dialect)
        self._stack.push_async_callback(provider.close)
        self._stack.push_async_callback(guard.close)
        return provider, api

    async def bucket(self) -> Bucket:
        return await self._stack.enter_async_context(Bucket())


@pytest.fixture
async def worlds() -> AsyncIterator[Worlds]:
    async with AsyncExitStack() as stack:
        yield Worlds(stack)


def form(api: FakeVideos) -> tuple[dict[str, str], list[Part]]:
    """The text fields and the files of the last request."""
    parts = api.requests[-1].parts()
    texts = {part.name: part.text for part in parts if part.filename is None}
    return texts, [part for part in parts if part.filename is not None]


@pytest.mark.parametrize("name", FORMS)
async def test_text_to_video_is_a_form_of_text_fields(worlds: Worlds, name: DialectName) -> None:
    provider, api = await worlds.open(name)
    assert isinstance(await provider.submit(job_of(T2V, MODEL)), Accepted)
    assert api.requests[-1].path == "/v1/videos"
    assert form(api) == (PLAIN, [])
    assert api.requests[-1].headers["idempotency-key"] == "task_1"


@pytest.mark.parametrize("name", FORMS)
async def test_our_image_is_uploaded(worlds: Worlds, name: DialectName) -> None:
    provider, api = await worlds.open(name)
    assert isinstance(await provider.submit(job_of(I2V, MODEL)), Accepted)
    texts, files = form(api)
    assert texts == PLAIN
    assert files == [Part("input_reference", "input.png", "image/png", PNG)]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("openai", {"input_reference[image_url]": LINK.url}),
        ("sglang", {"reference_url": LINK.url}),
        ("vllm-omni", {"image_reference": f'{{"image_url":"{LINK.url}"}}'}),
        ("new-api", {"input_reference": LINK.url}),
    ],
)
async def test_a_linked_image_is_named_the_way_the_server_takes_it(
    worlds: Worlds, name: DialectName, field: dict[str, str]
) -> None:
    provider, api = await worlds.open(name)
    answer = await provider.submit(replace(job_of(I2V, MODEL), images=(LINK,)))
    assert isinstance(answer, Accepted), answer
    assert form(api) == (PLAIN | field, [])


async def test_litellm_gets_the_bytes_behind_a_link(worlds: Worlds) -> None:
    provider, api = await worlds.open("litellm")
    bucket = await worlds.bucket()
    source = JobInput(url=bucket.put("a.png", PNG), mime="image/png")
    await provider.submit(replace(job_of(I2V, MODEL), images=(source,)))
    assert form(api)[1] == [Part("input_reference", "input.png", "image/png", PNG)]
    assert "authorization" not in bucket.requests[-1].headers


async def test_a_link_that_we_can_not_fetch_refuses_the_job_unsent(worlds: Worlds) -> None:
    provider, api = await worlds.open("litellm")
    bucket = await worlds.bucket()
    source = JobInput(url=f"{bucket.url}/nothing.png")
    answer = await provider.submit(replace(job_of(I2V, MODEL), images=(source,)))
    assert isinstance(answer, Refused)
    assert answer.verdict is Verdict.INPUT_UNREACHABLE
    assert "127.0.0.1" not in answer.message
    assert api.connections == 0


async def test_what_an_upstream_may_be_fetched_from_a_customer_may_not_name(
    worlds: Worlds,
) -> None:
    api, bucket = FakeVideos("litellm"), await worlds.bucket()
    source = JobInput(url=bucket.put("a.png", PNG))
    async with api:
        private, public = loopback_guard(), Guard(Policy(allow_http=True, ports=None))
        provider = OpenAIVideos(api.url, KEY, private, inputs_guard=public, dialect="litellm")
        answer = await provider.submit(replace(job_of(I2V, MODEL), images=(source,)))
        assert isinstance(answer, Refused)
        assert answer.verdict is Verdict.INPUT_UNREACHABLE
        for closing in (provider, private, public):
            await closing.close()
    assert (api.connections, bucket.connections) == (0, 0)


async def test_edits_and_extensions_upload_their_source(worlds: Worlds) -> None:
    provider, api = await worlds.open("openai")
    await provider.submit(job_of(Operation.EDIT_VIDEO, MODEL))
    assert api.requests[-1].path == "/v1/videos/edits"
    film = [Part("video", "input.mp4", "video/mp4", MP4)]
    assert form(api) == ({"model": MODEL, "prompt": PLAIN["prompt"]}, film)
    await provider.submit(job_of(Operation.VIDEO_EXTEND, MODEL))
    assert api.requests[-1].path == "/v1/videos/extensions"
    texts = {"model": MODEL, "prompt": PLAIN["prompt"], "seconds": "4"}
    assert form(api) == (texts, film)


async def test_a_size_that_the_image_decides_is_left_out(worlds: Worlds) -> None:
    provider, api = await worlds.open("sglang")
    job = replace(job_of(I2V, MODEL), width=None, height=None, aspect_ratio="auto")
    await provider.submit(job)
    assert "size" not in form(api)[0]


async def test_no_key_no_header(worlds: Worlds) -> None:
    provider, api = await worlds.open("sglang", key=None)
    await provider.submit(job_of(T2V, MODEL))
    assert "authorization" not in api.requests[-1].headers


@pytest.mark.parametrize(
    ("operation", "own"),
    [
        (T2V, set()),
        (I2V, {"image"}),
        (Operation.REFERENCE_TO_VIDEO, {"images"}),
        (Operation.EDIT_VIDEO, {"video"}),
        (Operation.VIDEO_EXTEND, {"video"}),
    ],
)
async def test_another_reelgate_gets_our_contract(
    worlds: Worlds, operation: Operation, own: set[str]
) -> None:
    provider, api = await worlds.open("reelgate")
    job = replace(job_of(operation, MODEL), user="u")
    answer = await provider.submit(job)
    assert isinstance(answer, Accepted), answer
    assert answer.poll_after_ms == 2_000
    fields: dict[str, Any] = api.requests[-1].json()
    given = {"seconds": job.seconds, "size": job.tier, "aspect_ratio": job.aspect_ratio}
    known = {name for name, value in given.items() if value is not None}
    assert set(fields) == {"model", "prompt", "operation", "user"} | known | own
    assert fields["operation"] == operation.value
    assert fields.get("size", "720p") == "720p"
    assert fields.get("seconds", "4") == "4"
    sources = fields.get("images") or [fields[name] for name in own]
    assert all(source["url"].startswith("data:") for source in sources)
    assert len(sources) == {Operation.REFERENCE_TO_VIDEO: 3, T2V: 0}.get(operation, 1)


async def test_a_cancel_that_came_too_late_is_not_true(worlds: Worlds) -> None:
    provider, api = await worlds.open("reelgate")
    answer = await provider.submit(job_of(T2V, MODEL))
    assert isinstance(answer, Accepted)
    job = api.jobs[answer.ref]
    for late in (
        api.state(job, "completed"),
        api.state(job, "failed", error={"code": "task_failed", "message": "x"}),
        api.error(409, "not_cancellable", "too late"),
        Reply(200, b"<html>"),
        Reply(500, b""),
    ):
        api.answer_once(late)
        assert await provider.cancel(answer.ref) is False


async def test_content_is_asked_for_with_the_key_and_without_a_variant(worlds: Worlds) -> None:
    provider, api = await worlds.open("vllm-omni")
    answer = await provider.submit(job_of(T2V, MODEL))
    assert isinstance(answer, Accepted)
    async with provider.fetch(f"/v1/videos/{answer.ref}/content") as download:
        assert b"".join([chunk async for chunk in download.chunks]) == FILM
    request = api.requests[-1]
    assert request.query == {}
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_content_that_lies_elsewhere_is_fetched_there_without_the_key(
    worlds: Worlds,
) -> None:
    provider, api = await worlds.open("new-api")
    bucket = await worlds.bucket()
    answer = await provider.submit(job_of(T2V, MODEL))
    assert isinstance(answer, Accepted)
    there = bucket.put("film.mp4", FILM)
    api.jobs[answer.ref].content = Reply(302, b"", {"Location": there})
    async with provider.fetch(f"/v1/videos/{answer.ref}/content") as download:
        assert b"".join([chunk async for chunk in download.chunks]) == FILM
    assert "authorization" not in bucket.requests[-1].headers


async def test_sglang_in_a_cloud_store(worlds: Worlds) -> None:
    provider, api = await worlds.open("sglang")
    bucket = await worlds.bucket()
    there = bucket.put("film.mp4", FILM)
    api.next_life = lambda job: [api.state(job, "completed", url=there)]
    answer = await provider.submit(job_of(T2V, MODEL))
    assert isinstance(answer, Accepted)
    done = await provider.poll(answer.ref)
    assert done == Done(there)
    async with provider.fetch(there) as download:
        assert b"".join([chunk async for chunk in download.chunks]) == FILM


async def test_content_that_is_not_there_any_more(worlds: Worlds) -> None:
    provider, api = await worlds.open("openai")
    for status in (403, 404, 410):
        answer = await provider.submit(job_of(T2V, MODEL, f"task_{status}"))
        assert isinstance(answer, Accepted)
        api.jobs[answer.ref].content = Reply(status, {"error": {"message": "gone"}})
        with pytest.raises(ResultGone):
            async with provider.fetch(f"/v1/videos/{answer.ref}/content"):
                pass


async def test_check_names_the_models_that_are_missing(worlds: Worlds) -> None:
    provider, _ = await worlds.open("openai")
    report = await provider.check((MODEL, "other"))
    assert (report.authorized, report.models_missing) == (True, ("other",))
    assert "other" in report.detail


async def test_check_of_a_server_that_lists_nothing(worlds: Worlds) -> None:
    provider, _ = await worlds.open("sglang")
    report = await provider.check((MODEL, "other"))
    assert (report.reachable, report.authorized, report.models_missing) == (True, None, ())


@pytest.mark.parametrize(
    ("cost", "ticks"),
    [
        ("0.42", 4_200_000_000),
        ("0", 0),
        ("0.000001", 10_000),
        ("9999999.99", 99_999_999_900_000_000),
        ("-1", None),
        ("nan", None),
        ("1e3", 10_000_000_000_000),
        ("0.0000001", None),
        ("", None),
        (0.42, None),
        (1, None),
        (None, None),
    ],
)
def test_a_bill_becomes_exact_ticks_or_nothing(cost: object, ticks: int | None) -> None:
    assert billed_ticks({"billing": {"cost": cost}}) == ticks


def test_every_dialect_has_the_two_operations_that_all_have() -> None:
    for dialect in DIALECTS.values():
        assert {T2V, I2V} <= set(dialect.calls)


def refusal(answer: SubmitAnswer) -> str:
    assert isinstance(answer, Refused), answer
    return answer.message


async def test_paths_of_the_server_are_not_shown(worlds: Worlds) -> None:
    provider, api = await worlds.open("sglang")
    text = "could not open /srv/outputs/uploads/a_input.png on gpu-7.cluster.local:30000"
    api.next_submits.append(Reply(400, {"detail": text}))
    message = refusal(await provider.submit(job_of(I2V, MODEL)))
    assert "/srv" not in message
    assert "gpu-7" not in message
