"""The task object as it goes out: contract section 4, field by field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from openai.types import Video as OpenAIVideo
from openai.types import VideoDeleteResponse

from reelgate.api import wire
from reelgate.catalog import MODELS
from reelgate.domain.errors import TaskError
from reelgate.domain.order import Draft, MediaDraft, SourceFacts
from reelgate.domain.quote import Terms, final_bill, quote
from reelgate.domain.rules import check
from reelgate.domain.task import ENDED, Failure, Result, State, Task

SPEC = MODELS["grok-imagine"]
CREATED_MS = 1_790_000_000_123
LINK = "https://gate.example/v1/videos/task_x/content?sig=abc"
CLIP = MediaDraft("video", url="https://example.com/a.mp4")
# A client may rely on each of them being there, whatever became of the task.
FIELDS = {
    "ours": ["task_id", "operation", "aspect_ratio", "metadata", "billing"],
    "when": ["created_at", "completed_at", "expires_at"],
    "what": ["id", "object", "model", "prompt", "size", "seconds", "remixed_from_video_id"],
    "how far": ["status", "progress", "error"],
}
ALL_FIELDS = {name for names in FIELDS.values() for name in names}
OPENAI_FIELDS = ALL_FIELDS - {*FIELDS["ours"]}


def task_of(draft: Draft, state: State = State.QUEUED, **fields: Any) -> Task:
    order = check(draft, SPEC)
    quoted = quote(order, SPEC, SPEC.prices_micro, None)
    task = Task(
        id="task_" + "a" * 32,
        account_id="acct_1",
        key_id="key_1",
        model=order.model,
        operation=order.operation.value,
        state=state,
        epoch=1,
        revision=1,
        created_at_ms=CREATED_MS,
        due_at_ms=CREATED_MS,
        deadline_at_ms=CREATED_MS,
        held_micro=quoted.total_micro,
        progress=0,
        attempts=1,
        order=order,
        terms=Terms(SPEC.prices_micro, quoted),
    )
    return replace(task, **fields)


def completed(draft: Draft, duration_ms: int, width: int, height: int) -> Task:
    task = task_of(draft, State.COMPLETED, ended_at_ms=CREATED_MS + 60_000, progress=97)
    facts = SourceFacts(width, height, duration_ms)
    bill = final_bill(task.order, SPEC, task.terms, facts, None, task.held_micro)
    result = Result("k", 1000, "0" * 64, duration_ms, width, height, 24)
    return replace(task, result=result, bill=bill, expires_at_ms=CREATED_MS + 604_800_000)


def text(**fields: Any) -> Draft:
    return Draft(**{"model": SPEC.id, "prompt": "a paper boat", "seconds": 6, **fields})


def edit(**fields: Any) -> Draft:
    return text(**{"seconds": None, "video": CLIP, **fields})


def shown(task: Task, url: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(wire.video_json(task, url))
    return answer


QUEUED = task_of(text(size="720p", user="u", metadata={"order": "17"}))
FAILED = task_of(
    text(),
    State.FAILED,
    ended_at_ms=CREATED_MS + 5_000,
    failure=Failure(TaskError.CONTENT_POLICY_VIOLATION, "The upstream refused it: “no”."),
)
DONE = completed(text(size="1280x720", metadata={"order": "17"}), 6_040, 1280, 720)


@pytest.mark.parametrize("task", [QUEUED, FAILED, DONE, task_of(edit())])
def test_every_field_is_always_there(task: Task) -> None:
    assert set(shown(task)) == ALL_FIELDS
    assert len(OPENAI_FIELDS) == 13


def test_a_queued_task() -> None:
    assert shown(QUEUED) == {
        "id": QUEUED.id,
        "task_id": QUEUED.id,
        "object": "video",
        "model": "grok-imagine",
        "status": "queued",
        "progress": 0,
        "created_at": 1_790_000_000,
        "completed_at": None,
        "expires_at": None,
        "prompt": "a paper boat",
        "size": "720p",
        "seconds": "6",
        "operation": "text_to_video",
        "aspect_ratio": "16:9",
        "remixed_from_video_id": None,
        "error": None,
        "metadata": {"order": "17"},
        "billing": {
            "currency": "USD",
            "max_cost": "0.42",
            "cost": None,
            "items": [
                {
                    "item": "output_second_720p",
                    "quantity": 6,
                    "unit": "second",
                    "unit_price": "0.07",
                    "amount": "0.42",
                }
            ],
        },
    }


def test_a_completed_task() -> None:
    answer = shown(DONE, LINK)
    assert (answer["status"], answer["progress"]) == ("completed", 100)
    assert (answer["completed_at"], answer["expires_at"]) == (1_790_000_060, 1_790_604_800)
    assert (answer["size"], answer["seconds"]) == ("1280x720", "6")
    assert answer["metadata"] == {"url": LINK, "order": "17"}
    assert (answer["billing"]["max_cost"], answer["billing"]["cost"]) == ("0.42", "0.42")
    assert answer["error"] is None


def test_a_failed_task_costs_nothing() -> None:
    answer = shown(FAILED)
    assert (answer["status"], answer["progress"]) == ("failed", 100)
    assert answer["error"] == {
        "code": "content_policy_violation",
        "message": "The upstream refused it: “no”.",
    }
    assert answer["billing"] == {"currency": "USD", "max_cost": "0.30", "cost": "0.00", "items": []}
    assert (answer["completed_at"], answer["expires_at"]) == (None, None)
    assert answer["metadata"] == {}


@pytest.mark.parametrize("state", State)
def test_status_and_progress_of_each_state(state: State) -> None:
    answer = shown(replace(QUEUED, state=state, progress=100))
    assert answer["status"] in {"queued", "in_progress", "completed", "failed"}
    assert answer["progress"] == (100 if state in ENDED else 99)
    assert (answer["billing"]["cost"] is None) == (state not in ENDED)


def test_a_grown_hold_is_the_most_it_can_cost() -> None:
    assert shown(replace(QUEUED, held_micro=500_000))["billing"]["max_cost"] == "0.50"
    assert shown(replace(QUEUED, held_micro=0))["billing"]["max_cost"] == "0.42"


def test_a_shorter_delivery_costs_less_and_says_why() -> None:
    billing = shown(completed(text(size="720p"), 4_200, 854, 480), LINK)["billing"]
    assert (billing["max_cost"], billing["cost"]) == ("0.42", "0.25")
    assert [(line["item"], line["quantity"]) for line in billing["items"]] == [
        ("output_second_480p", 5)
    ]


EXTENSION = edit(seconds=6, operation="video_extend")
SOURCE = SourceFacts(640, 480, 4_980)
SIZES: dict[str, tuple[Task, str, str]] = {
    "text, nothing said": (task_of(text()), "480p", "6"),
    "text, pixels": (task_of(text(size="848x480")), "848x480", "6"),
    "edit, nothing known": (task_of(edit()), "720p", "9"),
    "edit, declared": (task_of(edit(input_video_seconds=4)), "720p", "4"),
    "edit, size said": (task_of(edit(size="480p")), "480p", "9"),
    "edit, measured": (task_of(edit(), source=SOURCE), "480p", "5"),
    "edit, delivered": (completed(edit(), 6_040, 1280, 720), "720p", "6"),
    "extension, nothing known": (task_of(EXTENSION), "720p", "6"),
    "extension, measured": (task_of(EXTENSION, source=SOURCE), "480p", "6"),
    "extension, delivered": (completed(EXTENSION, 11_000, 480, 854), "480p", "6"),
}


@pytest.mark.parametrize("name", SIZES)
def test_size_and_seconds_are_texts_and_never_null(name: str) -> None:
    task, size, seconds = SIZES[name]
    answer = shown(task)
    assert (answer["size"], answer["seconds"]) == (size, seconds)


def test_the_source_decides_the_shape_of_an_edit() -> None:
    assert shown(task_of(edit()))["aspect_ratio"] is None
    assert shown(task_of(text(image=MediaDraft("image", url="https://x.example/a"))))[
        "aspect_ratio"
    ] == ("auto")


def test_a_remix_names_its_source() -> None:
    source = "task_" + "b" * 32
    video = MediaDraft("video", task_id=source)
    answer = shown(task_of(edit(video=video, remixed_from=source)))
    assert answer["remixed_from_video_id"] == source


@pytest.mark.parametrize("task", [QUEUED, FAILED, DONE, task_of(edit())])
def test_openais_own_strict_type_takes_it(task: Task) -> None:
    fields = {name: value for name, value in shown(task, LINK).items() if name in OPENAI_FIELDS}
    assert OpenAIVideo.model_validate({**fields, "size": "1280x720"}, strict=True).id == task.id


@pytest.mark.parametrize("prompt", ["é 漢 😀", '"quotes" \\ and\nbreaks\t', "\x7f\u2028\u202e"])
def test_a_prompt_goes_out_as_it_came_in(prompt: str) -> None:
    assert shown(task_of(text(prompt=prompt)))["prompt"] == prompt


# ---- its kin ------------------------------------------------------------------------------


def plain(value: msgspec.Struct) -> Any:
    return json.loads(wire.encode(value))


def test_a_page_names_its_ends() -> None:
    page = plain(wire.page([(QUEUED, None), (DONE, LINK)], has_more=True))
    assert list(page) == ["object", "data", "first_id", "last_id", "has_more"]
    assert (page["object"], page["has_more"]) == ("list", True)
    assert (page["first_id"], page["last_id"]) == (QUEUED.id, DONE.id)
    assert page["data"] == [shown(QUEUED), shown(DONE, LINK)]


def test_an_empty_page() -> None:
    assert plain(wire.page([], has_more=False)) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_a_deleted_video() -> None:
    deleted = plain(wire.VideoDeleted(id="task_x"))
    assert deleted == {"id": "task_x", "object": "video.deleted", "deleted": True}
    assert VideoDeleteResponse.model_validate(deleted, strict=True).deleted


def test_an_estimate_is_what_would_be_held() -> None:
    task = task_of(edit(input_video_seconds=8))
    estimate = plain(wire.estimate(task.model, task.operation, task.terms.quoted))
    assert {name: estimate[name] for name in ("object", "model", "operation")} == {
        "object": "video.estimate",
        "model": "grok-imagine",
        "operation": "edit_video",
    }
    assert estimate["billing"] == shown(task)["billing"]
    assert (estimate["billing"]["max_cost"], estimate["billing"]["cost"]) == ("0.64", None)


def test_a_balance() -> None:
    assert plain(wire.balance(12_345_000, 420_000)) == {
        "object": "balance",
        "currency": "USD",
        "available": "12.345",
        "held": "0.42",
    }
