"""What comes back: the task object, estimates, models and prices (contract, sections 1, 4, 7)."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.contract.asking import Ask, create
from tests.support.live import Account, Live

PICTURE, CLIP = "https://pictures.example/a.png", "https://clips.example/a.mp4"
FAIL = "[sandbox:refuse]"
PRICES = {  # section 7, in USD
    "output_second_480p": "0.05",
    "output_second_720p": "0.07",
    "input_image": "0.002",
    "input_video_second": "0.01",
    "extension_second": "0.05",
}
OPERATIONS = (
    "text_to_video", "image_to_video", "reference_to_video", "edit_video", "video_extend",
)  # fmt: skip


# ---- the task object ----------------------------------------------------------------------


def test_a_new_task_has_every_field(api: Account) -> None:
    before = int(time.time())
    task = api.create(prompt=FAIL, duration=6, size="720p", metadata={"k": "v"})
    assert re.fullmatch(r"task_[a-z2-7]{32}", task["id"])
    assert before <= task.pop("created_at") <= time.time()
    assert task == {
        "id": task["id"],
        "task_id": task["id"],
        "object": "video",
        "model": "grok-imagine",
        "status": "queued",
        "progress": 0,
        "completed_at": None,
        "expires_at": None,
        "prompt": FAIL,
        "size": "720p",
        "seconds": "6",
        "operation": "text_to_video",
        "aspect_ratio": "16:9",
        "remixed_from_video_id": None,
        "error": None,
        "metadata": {"k": "v"},
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


def test_a_finished_task_has_its_link_beside_the_callers_pairs(api: Account) -> None:
    task = api.made(metadata={"k": "v"}, user="someone")
    assert set(task["metadata"]) == {"k", "url"}
    assert task["metadata"]["k"] == "v"
    assert task["metadata"]["url"].startswith(f"{api.live.url}/v1/videos/{task['id']}/content?")
    assert "someone" not in str(task)
    assert task["created_at"] <= task["completed_at"] <= time.time()


def test_ids_sort_by_time(api: Account) -> None:
    ids = [api.create(prompt=FAIL)["id"] for _ in range(20)]
    assert ids == sorted(ids)
    assert len({task_id[-10:] for task_id in ids}) == 20


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/generations", "/v1/video/generations"])
def test_the_compatible_paths_are_the_same_task(api: Account, path: str) -> None:
    task = api.http.post(path, json=create(prompt=FAIL).json).json()
    task = api.ended(task["id"])
    assert api.http.get(f"{path}/{task['id']}").json() == task
    assert api.http.head(f"{path}/{task['id']}").status_code == 200


# (what was sent, size, aspect ratio, seconds) as they come back
SHOWN = [
    ({}, "480p", "16:9", "1"),
    ({"size": "480p"}, "480p", "16:9", "1"),
    ({"size": "848x480"}, "848x480", "16:9", "1"),
    ({"size": "720x1080"}, "720x1080", "2:3", "1"),
    ({"size": "720p", "aspect_ratio": "4:3"}, "720p", "4:3", "1"),
    ({"resolution": "1280x720", "aspect_ratio": "16:9"}, "1280x720", "16:9", "1"),
    ({"duration": None, "seconds": 15}, "480p", "16:9", "15"),
    ({"image": PICTURE}, "480p", "auto", "1"),
    ({"image": PICTURE, "aspect_ratio": "auto", "size": "720p"}, "720p", "auto", "1"),
    ({"image": PICTURE, "size": "480x480"}, "480x480", "1:1", "1"),
    ({"images": [PICTURE]}, "480p", "16:9", "1"),
    ({"video": CLIP, "duration": None, "size": "480p"}, "480p", None, "9"),
    (
        {"video": CLIP, "duration": None, "size": "720p", "input_video_seconds": 4},
        "720p",
        None,
        "4",
    ),
    ({"video": CLIP, "duration": 6}, "720p", None, "6"),
]


@pytest.mark.parametrize(("fields", "size", "ratio", "seconds"), SHOWN)
def test_size_shape_and_seconds_come_back(
    api: Account, fields: dict[str, Any], size: str, ratio: str | None, seconds: str
) -> None:
    task = api.create(prompt=FAIL, **fields)
    assert (task["size"], task["aspect_ratio"], task["seconds"]) == (size, ratio, seconds)


def test_the_pixel_sizes_of_the_table(api: Account) -> None:
    table = {
        "480p": "854x480 480x854 480x480 640x480 480x640 720x480 480x720",
        "720p": "1280x720 720x1280 720x720 960x720 720x960 1080x720 720x1080",
    }
    ratios = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3")
    for tier, sizes in table.items():
        for ratio, size in zip(ratios, sizes.split(), strict=True):
            billing = estimate(api, size=size)["billing"]
            assert billing["items"][0]["item"] == f"output_second_{tier}"
            task = api.create(prompt=FAIL, size=size, aspect_ratio=ratio)
            assert (task["size"], task["aspect_ratio"]) == (size, ratio)


# ---- estimates ----------------------------------------------------------------------------


def estimate(api: Account, **fields: Any) -> dict[str, Any]:
    ask = create(prompt=FAIL, **fields)
    answer = Ask(path="/v1/videos/estimate", json=ask.json).send(api.http)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == {"object", "model", "operation", "billing"}
    assert (found["object"], found["model"]) == ("video.estimate", "grok-imagine")
    assert found["billing"]["cost"] is None
    return found


# (what is sent, operation, the price by hand)
ESTIMATES = [
    ({"duration": 6}, "text_to_video", "0.30"),
    ({"duration": 15, "size": "720p"}, "text_to_video", "1.05"),
    ({"duration": 10, "image": PICTURE}, "image_to_video", "0.502"),
    ({"duration": 10, "images": [PICTURE] * 7, "size": "720p"}, "reference_to_video", "0.714"),
    ({"duration": None, "video": CLIP}, "edit_video", "0.72"),
    ({"duration": None, "video": CLIP, "size": "480p"}, "edit_video", "0.54"),
    ({"duration": None, "video": CLIP, "input_video_seconds": 8}, "edit_video", "0.64"),
    ({"duration": 10, "video": CLIP}, "video_extend", "0.65"),
    ({"duration": 2, "video": CLIP, "input_video_seconds": 2}, "video_extend", "0.12"),
]


@pytest.mark.parametrize(("fields", "operation", "price"), ESTIMATES)
def test_an_estimate_is_the_hold(
    api: Account, fields: dict[str, Any], operation: str, price: str
) -> None:
    found = estimate(api, **fields)
    assert found["operation"] == operation
    assert found["billing"]["max_cost"] == price
    assert api.tasks() == []
    assert api.balance() == ("100.00", "0.00")
    task = api.create(prompt=FAIL, **fields)
    assert task["billing"] == found["billing"]


def test_an_estimate_takes_every_encoding(api: Account) -> None:
    form = {"model": "grok-imagine", "prompt": "x", "seconds": "6"}
    for ask in (
        Ask(path="/v1/videos/estimate", form=form),
        Ask(path="/v1/videos/estimate", pairs=tuple(form.items())),
    ):
        assert ask.send(api.http).json()["billing"]["max_cost"] == "0.30"


# ---- models, prices, balance --------------------------------------------------------------


def test_models_are_openais_list_and_more(api: Account) -> None:
    listed = api.http.get("/v1/models").json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert (model["id"], model["object"]) == ("grok-imagine", "model")
    assert isinstance(model["created"], int)
    assert model["owned_by"]
    assert api.http.get("/v1/models/grok-imagine").json() == model
    assert tuple(card["operation"] for card in model["operations"]) == OPERATIONS
    by_name = {card["operation"]: card for card in model["operations"]}
    assert by_name["text_to_video"]["duration"] == {"min": 1, "max": 15}
    assert by_name["reference_to_video"]["duration"] == {"min": 1, "max": 10}
    assert by_name["reference_to_video"]["images"] == {"min": 1, "max": 7}
    assert by_name["edit_video"]["duration"] is None
    assert by_name["edit_video"]["source_ms"] == {"min": 1_000, "max": 8_700}
    assert by_name["video_extend"]["duration"] == {"min": 2, "max": 10}
    assert by_name["video_extend"]["sizes"] == []
    assert model["limits"]["prompt_chars_max"] == 4096
    assert model["limits"]["image"]["bytes_max"] == 10 * 1024 * 1024
    assert model["limits"]["video"]["bytes_max"] == 50 * 1024 * 1024


def test_the_examples_of_a_model_work(api: Account) -> None:
    for card in api.http.get("/v1/models/grok-imagine").json()["operations"]:
        answer = api.http.post("/v1/videos/estimate", json=card["example"])
        assert answer.status_code == 200, answer.text
        assert answer.json()["operation"] == card["operation"]


def test_prices_are_public_and_those_that_are_charged(live: Live) -> None:
    table = live.client().get("/v1/pricing").json()
    assert (table["object"], table["currency"]) == ("list", "USD")
    shown = {item["item"]: item["unit_price"] for row in table["data"] for item in row["items"]}
    assert shown == PRICES
    items = {row["operation"]: {item["item"] for item in row["items"]} for row in table["data"]}
    output = {"output_second_480p", "output_second_720p"}
    assert items == {
        "text_to_video": output,
        "image_to_video": output | {"input_image"},
        "reference_to_video": output | {"input_image"},
        "edit_video": output | {"input_video_second"},
        "video_extend": {"input_video_second", "extension_second"},
    }


def test_a_balance_says_what_is_held(either: Live) -> None:
    account = either.account("1")
    task = account.create(prompt="[sandbox:slow=600]", duration=2)
    assert account.http.get("/v1/balance").json() == {
        "object": "balance", "currency": "USD", "available": "0.90", "held": "0.10",
    }  # fmt: skip
    account.cancelled(task["id"])
    assert account.http.get("/v1/balance").json()["available"] == "1.00"
