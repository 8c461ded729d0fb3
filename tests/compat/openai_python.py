"""What a user of the OpenAI Python SDK does. Run by `test_clients`, under each version of the SDK.

A scenario is a function of a `User`; what it finds wrong it raises. Nothing of Reelgate and
nothing of pytest is imported here: this is somebody else's program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

from tests.compat.telling import User, run, scenario, since

MODEL = "grok-imagine"
FAIL = "[sandbox:refuse]"
QUICK = {"poll_interval_ms": 100}


def client_of(user: User, **options: Any) -> Any:
    """Any: its types know what OpenAI sold, and its deprecations what OpenAI closed."""
    return OpenAI(base_url=user.base_url, api_key=user.key, **options)


def refusal(what: Callable[[], Any]) -> Any:
    """The exception that something ends in."""
    try:
        what()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("it was not refused")


def made(client: Any, prompt: str = "a boat", seconds: str = "1", **fields: Any) -> Any:
    video = client.videos.create_and_poll(
        model=MODEL, prompt=prompt, seconds=seconds, **QUICK, **fields
    )
    assert video.status == "completed", video
    return video


def check_mp4(data: bytes) -> None:
    assert data[4:8] == b"ftyp", data[:16]


# ---- the five operations ------------------------------------------------------------------


@scenario
def text_to_video(user: User) -> None:
    client = client_of(user)
    video = client.videos.create(model=MODEL, prompt="a boat", seconds="1", size="1280x720")
    assert video.id.startswith("task_")
    assert (video.object, video.model, video.size) == ("video", MODEL, "1280x720")
    assert (video.status, video.progress, video.seconds) == ("queued", 0, "1")
    assert isinstance(video.created_at, int)
    assert video.completed_at is None
    assert video.expires_at is None
    assert video.error is None
    assert video.remixed_from_video_id is None
    assert video.model_extra["operation"] == "text_to_video"
    assert video.model_extra["billing"]["max_cost"] == "0.07"
    video = client.videos.poll(video.id, **QUICK)
    assert (video.status, video.progress) == ("completed", 100)
    assert isinstance(video.completed_at, int)
    assert isinstance(video.expires_at, int)
    assert video.model_extra["metadata"]["url"].startswith("http")


@scenario
def create_and_poll_as_the_gateway_says(user: User) -> None:
    """Without an interval of the user's own the SDK takes `openai-poll-after-ms`."""
    video = client_of(user).videos.create_and_poll(model=MODEL, prompt="a boat", seconds="1")
    assert video.status == "completed"


@scenario
def image_to_video_by_upload(user: User) -> None:
    client = client_of(user)
    path = user.inputs / "red.png"
    with path.open("rb") as file:
        ways = (path, file, path.read_bytes(), ("x.jpg", path.read_bytes(), "image/jpeg"))
        for way in ways:
            video = client.videos.create(model=MODEL, prompt=FAIL, seconds="1", input_reference=way)
            assert video.model_extra["operation"] == "image_to_video"
    made(client, input_reference=path)


@scenario
def image_to_video_by_link(user: User) -> None:
    client = client_of(user)
    for extra in (
        {"image": user.link("red.png")},
        {"image": {"url": user.link("red.png")}},
        {"image_url": user.link("red.png")},
        {"extra_body": {"image": {"url": user.link("red.png")}}},
        {"extra_body": '{"image": "' + user.link("red.png") + '"}'},
    ):
        video = client.videos.create(
            model=MODEL, prompt=FAIL, seconds="1", extra_body={**extra, "aspect_ratio": "auto"}
        )
        assert video.model_extra["operation"] == "image_to_video", extra
        assert video.model_extra["aspect_ratio"] == "auto"


@scenario
def reference_to_video(user: User) -> None:
    links = [user.link("red.png"), user.link("green.jpg")]
    video = made(
        client_of(user), "@Image1 meets @Image2",
        extra_body={"images": links, "operation": "reference_to_video", "resolution": "480p"},
    )  # fmt: skip
    assert video.model_extra["operation"] == "reference_to_video"
    assert video.model_extra["billing"]["cost"] == "0.054"


@scenario
def edit_video_as_every_version_can(user: User) -> None:
    """Through `create`: flat, and nested as the documentation writes it."""
    client = client_of(user)
    flat = {"video": user.link("two.mp4"), "operation": "edit_video", "input_video_seconds": 2}
    nested = {
        "video": {"url": user.link("two.mp4")},
        "extra_body": {"operation": "edit_video", "input_video_seconds": 2},
    }
    for extra in (flat, nested):
        video = client.videos.create_and_poll(
            model=MODEL, prompt="sepia", extra_body=extra, **QUICK
        )
        assert video.status == "completed", video
        assert video.model_extra["operation"] == "edit_video"
        assert (video.seconds, video.model_extra["billing"]["cost"]) == ("2", "0.12")


@scenario
def video_extend_as_every_version_can(user: User) -> None:
    extra = {
        "video": user.link("two.mp4"),
        "extra_body": {"operation": "video_extend", "input_video_seconds": 2},
    }
    video = made(client_of(user), seconds="2", extra_body=extra)
    assert video.model_extra["operation"] == "video_extend"
    assert video.model_extra["billing"]["cost"] == "0.12"


@since("3.0")
def edit(user: User) -> None:
    client = client_of(user)
    with (user.inputs / "two.mp4").open("rb") as file:
        video = client.videos.edit(prompt="black and white", video=file)
    assert video.model_extra["operation"] == "edit_video"
    assert video.model_extra["billing"]["max_cost"] == "0.12"
    assert client.videos.poll(video.id, **QUICK).status == "completed"


@since("3.0")
def extend(user: User) -> None:
    client = client_of(user)
    video = client.videos.extend(
        prompt="and on", seconds="2", video=user.inputs / "two.mp4"
    )  # fmt: skip
    assert video.model_extra["operation"] == "video_extend"
    assert client.videos.poll(video.id, **QUICK).status == "completed"


@since("3.0")
def edit_and_extend_by_id(user: User) -> None:
    """The SDK can't say `{"id": …}` by itself: the way around it that the facts name."""
    client = client_of(user)
    source = {"video": {"id": made(client, seconds="2").id}}
    omit = vars(openai)["omit"]
    video = client.videos.edit(prompt=FAIL, video=omit, extra_body=source)
    assert (video.model_extra["operation"], video.seconds) == ("edit_video", "2")
    as_json = {"Content-Type": "application/json"}
    video = client.videos.edit(prompt=FAIL, video=omit, extra_body=source, extra_headers=as_json)
    assert video.model_extra["operation"] == "edit_video"
    video = client.videos.extend(prompt=FAIL, seconds="4", video=omit, extra_body=source)
    assert (video.model_extra["operation"], video.seconds) == ("video_extend", "4")


@scenario
def remix(user: User) -> None:
    client = client_of(user)
    first = made(client)
    video = client.videos.remix(first.id, prompt="mirror")
    assert video.remixed_from_video_id == first.id
    assert client.videos.poll(video.id, **QUICK).status == "completed"
    nested = {"extra_body": {"operation": "edit_video"}}
    assert client.videos.remix(first.id, prompt=FAIL, extra_body=nested).id


@since("3.0")
def real_json(user: User) -> None:
    video = client_of(user).videos.create(
        model=MODEL, prompt=FAIL, seconds="1",
        extra_body={"extra_body": {"operation": "text_to_video"}, "metadata": {"a": "b"}},
        extra_headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert video.model_extra["metadata"] == {"a": "b"}


# ---- the rest of the resource -------------------------------------------------------------


@scenario
def download_with_variants(user: User) -> None:
    client = client_of(user)
    video = made(client)
    content = client.videos.download_content(video.id)
    data = content.read()
    check_mp4(data)
    path = user.folder / f"{video.id}.mp4"
    content.write_to_file(path)
    assert path.read_bytes() == data
    assert client.videos.download_content(video.id, variant="video").read() == data
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    assert (thumbnail[:4], thumbnail[8:12]) == (b"RIFF", b"WEBP")
    sheet = client.videos.download_content(video.id, variant="spritesheet").read()
    assert sheet[:3] == b"\xff\xd8\xff"
    piece = client.videos.download_content(video.id, extra_headers={"Range": "bytes=4-7"})
    assert piece.read() == b"ftyp"
    streamed = client.videos.with_streaming_response.download_content(video.id)
    with streamed as response:
        response.stream_to_file(path)
    assert path.read_bytes() == data


@scenario
def list_through_pages(user: User) -> None:
    client = client_of(user)
    ids = [client.videos.create(model=MODEL, prompt=FAIL, seconds="1").id for _ in range(5)]
    assert [video.id for video in client.videos.list(limit=2)] == ids[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == ids
    assert [video.id for video in client.videos.list()] == ids[::-1]
    page = client.videos.list(limit=3)
    assert page.has_more
    assert len(page.data) == 3
    assert [video.id for video in client.videos.list(after=ids[2], order="asc")] == ids[3:]


@scenario
def delete(user: User) -> None:
    client = client_of(user)
    video = client.videos.create_and_poll(model=MODEL, prompt=FAIL, seconds="1", **QUICK)
    gone = client.videos.delete(video.id)
    assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
    error = refusal(lambda: client.videos.retrieve(video.id))
    assert (type(error), error.code) == (openai.NotFoundError, "task_not_found")


@scenario
def a_failed_task_is_an_answer(user: User) -> None:
    video = client_of(user).videos.create_and_poll(
        model=MODEL, prompt="[sandbox:moderated]", seconds="1", **QUICK
    )
    assert (video.status, video.progress) == ("failed", 100)
    assert video.error is not None
    assert video.error.code == "content_policy_violation"
    assert video.error.message


@scenario
def models(user: User) -> None:
    client = client_of(user)
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by


@since("3.0")  # 2.3 knew no seconds but 4, 8 and 12
def every_field_passes_strict_validation(user: User) -> None:
    client = client_of(user, _strict_response_validation=True)
    video = client.videos.create(model=MODEL, prompt="a boat", seconds="1", size="1280x720")
    assert client.videos.poll(video.id, **QUICK).status == "completed"
    failed = client.videos.create(model=MODEL, prompt=FAIL, seconds="1", size="720x1280")
    assert client.videos.poll(failed.id, **QUICK).error is not None
    assert client.videos.list().data
    assert client.videos.delete(failed.id).deleted


@scenario
def the_asynchronous_client(user: User) -> None:
    async def work() -> None:
        client: Any
        async with AsyncOpenAI(base_url=user.base_url, api_key=user.key) as client:
            videos = await asyncio.gather(
                *(
                    client.videos.create_and_poll(
                        model=MODEL, prompt=f"{FAIL} {n}", seconds="1", **QUICK
                    )
                    for n in range(4)
                )
            )
            assert {video.status for video in videos} == {"failed"}
            listed = [video.id async for video in client.videos.list(limit=1)]
            assert sorted(listed) == sorted(video.id for video in videos)

    asyncio.run(work())


# ---- errors and retries -------------------------------------------------------------------


@scenario
def errors_are_the_right_exceptions(user: User) -> None:
    client = client_of(user, max_retries=0)

    def refused(kind: type[openai.APIStatusError], what: Callable[[], Any]) -> Any:
        error = refusal(what)
        assert type(error) is kind, repr(error)
        assert (error.request_id or "").startswith("req_")
        assert error.body is not None
        return error

    def create(**fields: Any) -> Any:
        given = {"model": MODEL, "prompt": FAIL, "seconds": "1", **fields}
        return client.videos.create(**given)

    error = refused(openai.BadRequestError, lambda: create(seconds="16"))
    assert (error.code, error.param, error.type) == (
        "invalid_value", "seconds", "invalid_request_error",
    )  # fmt: skip
    assert "1 to 15" in error.message
    error = refused(openai.BadRequestError, lambda: create(extra_body={"promt": "x"}))
    assert (error.code, error.param) == ("unknown_parameter", "promt")
    error = refused(openai.NotFoundError, lambda: create(model="sora-2"))
    assert (error.code, error.param, error.type) == ("model_not_found", "model", "not_found_error")
    error = refused(openai.NotFoundError, lambda: client.videos.retrieve("task_unknown"))
    assert error.code == "task_not_found"
    nobody = client_of(replace(user, key="sk-wrong"), max_retries=0)
    error = refused(openai.AuthenticationError, nobody.videos.list)
    assert (error.code, error.type) == ("invalid_api_key", "authentication_error")
    poor = client_of(replace(user, key=user.poor_key), max_retries=0)
    error = refused(
        openai.APIStatusError,
        lambda: poor.videos.create(model=MODEL, prompt=FAIL, seconds="1"),
    )
    assert (error.status_code, error.code) == (402, "insufficient_balance")
    running = create(prompt="[sandbox:slow=600]")
    error = refused(openai.ConflictError, lambda: client.videos.delete(running.id))
    assert error.code == "not_cancellable"
    assert f"/v1/videos/{running.id}/cancel" in error.message
    error = refused(openai.NotFoundError, lambda: client.videos.download_content(running.id))
    assert error.code == "video_not_ready"
    client.post(f"/videos/{running.id}/cancel", cast_to=object)
    key = {"Idempotency-Key": "one"}
    create(extra_headers=key)
    error = refused(openai.UnprocessableEntityError, lambda: create(seconds="2", extra_headers=key))
    assert error.code == "idempotency_key_reused"
    error = refused(openai.BadRequestError, lambda: client.images.generate(model=MODEL, prompt="x"))
    assert error.code == "wrong_endpoint"
    assert "/v1/videos" in error.message


@scenario
def a_lost_answer_is_retried_and_makes_one_task(user: User) -> None:
    """The connection breaks after the gateway has taken the request; the SDK sends it again."""
    lossy = client_of(replace(user, base_url=user.lossy_url))
    video = lossy.videos.create(model=MODEL, prompt=FAIL, seconds="1")
    assert [found.id for found in client_of(user).videos.list()] == [video.id]


@scenario
def what_must_not_be_retried_is_not(user: User) -> None:
    """409 is retried by the SDK unless it is told not to: seen by the time that it takes."""
    client = client_of(user, max_retries=2)
    running = client.videos.create(model=MODEL, prompt="[sandbox:slow=600]", seconds="1")
    raw = client.videos.with_raw_response
    error = refusal(lambda: raw.delete(running.id))
    assert type(error) is openai.ConflictError
    assert error.response.request.headers["x-stainless-retry-count"] == "0"
    client.post(f"/videos/{running.id}/cancel", cast_to=object)


if __name__ == "__main__":
    run(openai.__version__)
