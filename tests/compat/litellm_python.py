"""What a user of the LiteLLM SDK does, with the gateway as its OpenAI-compatible provider.

Run by `test_clients` under LiteLLM's own packages; see `openai_python`.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import litellm  # type: ignore[import-not-found]

from tests.compat.telling import User, run, scenario

MODEL = "openai/grok-imagine"
FAIL = "[sandbox:refuse]"


def at(user: User) -> dict[str, str]:
    return {
        "api_base": user.base_url, "api_key": user.key, "custom_llm_provider": "openai",
    }  # fmt: skip


def create(user: User, **fields: Any) -> Any:
    given = {"model": MODEL, "prompt": "a boat", "seconds": "1", **fields}
    return litellm.video_generation(**given, **at(user))


def ended(user: User, video_id: str) -> Any:
    while True:
        video = litellm.video_status(video_id, **at(user))
        if video.status in {"completed", "failed"}:
            return video
        time.sleep(0.1)


def real_id(video_id: str) -> str:
    """LiteLLM wraps ids: base64 of provider, model and the id that was given."""
    text = base64.b64decode(video_id.removeprefix("video_") + "==").decode()
    return text.rpartition("video_id:")[2]


def operation(user: User, video: Any) -> str:
    """What the gateway took it for: LiteLLM drops the fields that it does not know."""
    request = urllib.request.Request(
        f"{user.base_url}/videos/{real_id(video.id)}",
        headers={"authorization": f"Bearer {user.key}"},
    )
    with urllib.request.urlopen(request) as answer:
        found: str = json.load(answer)["operation"]
    return found


@scenario
def text_to_video(user: User) -> None:
    video = create(user, size="1280x720")
    assert real_id(video.id).startswith("task_"), video
    assert (video.object, video.status, video.seconds) == ("video", "queued", "1")
    assert video.size == "1280x720"
    assert ended(user, video.id).status == "completed"


@scenario
def image_to_video(user: User) -> None:
    video = create(user, input_reference=(user.inputs / "red.png").read_bytes())
    assert ended(user, video.id).status == "completed"
    with (user.inputs / "red.png").open("rb") as file:
        assert create(user, prompt=FAIL, input_reference=file).id


@scenario
def operations_by_flat_names(user: User) -> None:
    """What LiteLLM makes of `extra_body`: top-level fields."""
    extras = {
        "image_to_video": {"image": user.link("red.png")},
        "reference_to_video": {"images": [user.link("red.png"), user.link("green.jpg")]},
        "video_extend": {"video": user.link("two.mp4"), "operation": "video_extend"},
    }
    for wanted, extra in extras.items():
        video = create(user, prompt=FAIL, seconds="2", extra_body=extra)
        assert operation(user, video) == wanted, video
    extra = {"video": user.link("two.mp4"), "operation": "edit_video", "input_video_seconds": 2}
    video = create(user, prompt="sepia", seconds=None, extra_body=extra)
    assert operation(user, video) == "edit_video"
    assert ended(user, video.id).status == "completed"
    video = create(user, prompt=FAIL, seconds=None, **extra)
    assert operation(user, video) == "edit_video"


@scenario
def nested_is_the_same(user: User) -> None:
    extra = {"extra_body": {"operation": "image_to_video", "image": user.link("red.png")}}
    assert operation(user, create(user, prompt=FAIL, extra_body=extra)) == "image_to_video"


@scenario
def content_with_variants(user: User) -> None:
    video = ended(user, create(user).id)
    data = litellm.video_content(video.id, **at(user))
    assert data[4:8] == b"ftyp"
    thumbnail = litellm.video_content(video.id, variant="thumbnail", **at(user))
    assert thumbnail[8:12] == b"WEBP"


@scenario
def remix_edit_and_extension(user: User) -> None:
    first = ended(user, create(user, seconds="2").id)
    remixed = litellm.video_remix(first.id, prompt="mirror", **at(user))
    assert remixed.remixed_from_video_id
    edited = litellm.video_edit(first.id, prompt=FAIL, **at(user))
    assert operation(user, edited) == "edit_video"
    extended = litellm.video_extension(first.id, prompt=FAIL, seconds="2", **at(user))
    assert operation(user, extended) == "video_extend"
    assert ended(user, remixed.id).status == "completed"


@scenario
def list_pages(user: User) -> None:
    ids = [real_id(create(user, prompt=FAIL).id) for _ in range(3)]
    found = litellm.video_list(limit=2, order="asc", **at(user))
    listed = [item["id"] if isinstance(item, dict) else item.id for item in _data(found)]
    assert [real_id(one) if one.startswith("video_") else one for one in listed] == ids[:2]


def _data(found: Any) -> list[Any]:
    data: list[Any] = found["data"] if isinstance(found, dict) else getattr(found, "data", found)
    return data


@scenario
def a_failed_task_is_an_answer(user: User) -> None:
    video = ended(user, create(user, prompt="[sandbox:moderated]").id)
    assert video.status == "failed"
    assert video.error["code"] == "content_policy_violation"


@scenario
def errors_are_the_right_exceptions(user: User) -> None:
    def refusal(what: Callable[[], Any]) -> Exception:
        try:
            what()
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            return error
        raise AssertionError("it was not refused")

    def refused(kind: type[Exception], what: Callable[[], Any], *says: str) -> None:
        error = refusal(what)
        assert type(error) is kind, repr(error)
        for piece in says:
            assert piece in str(error), str(error)

    refused(litellm.BadRequestError, lambda: create(user, seconds="16"), "1 to 15")
    refused(litellm.NotFoundError, lambda: create(user, model="openai/sora-2"), "sora-2")
    nobody = replace(user, key="sk-wrong")
    refused(litellm.AuthenticationError, lambda: create(nobody))
    unknown = f"task_{'a' * 32}"
    refused(litellm.NotFoundError, lambda: litellm.video_status(unknown, **at(user)), unknown)
    # It sends the text of a link as if it were the picture's bytes.
    refused(
        litellm.BadRequestError,
        lambda: create(user, input_reference=user.link("red.png")),
        "link",
    )


if __name__ == "__main__":
    run(version("litellm"))
