"""The catalogue as callers see it: it says what is really taken and charged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from reelgate.api.fields import CreateReader
from reelgate.api.model_cards import model_card, model_list, pricing
from reelgate.catalog import MODELS
from reelgate.domain.model import Operation
from reelgate.domain.rules import check

SPEC = MODELS["grok-imagine"]


def plain(value: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(value))


def test_the_list_is_openais_with_more_in_it() -> None:
    listed = plain(model_list(MODELS.values()))
    assert listed["object"] == "list"
    first = listed["data"][0]
    assert (first["id"], first["object"], first["owned_by"]) == ("grok-imagine", "model", "xai")
    assert isinstance(first["created"], int)
    assert first == plain(model_card(SPEC))


def test_operations_say_what_they_take() -> None:
    cards = {card["operation"]: card for card in plain(model_card(SPEC))["operations"]}
    assert list(cards) == [operation.value for operation in Operation]
    extend = cards["video_extend"]
    assert extend["duration"] == {"min": 2, "max": 10}
    assert extend["input_video_seconds"] == {"min": 2, "max": 15}
    assert (extend["input"], extend["sizes"], extend["aspect_ratios"]) == ("video", [], [])
    reference = cards["reference_to_video"]
    assert (reference["images"], reference["duration"]) == (
        {"min": 1, "max": 7},
        {"min": 1, "max": 10},
    )
    assert cards["edit_video"]["source_ms"] == {"min": 1000, "max": 8700}
    assert cards["image_to_video"]["aspect_ratio_default"] == "auto"


def test_each_example_is_a_request_that_is_taken() -> None:
    reader = CreateReader(MODELS, allow_http=False)
    for card in plain(model_card(SPEC))["operations"]:
        draft, problems = reader.read(card["example"])
        assert check(draft, SPEC, problems).operation.value == card["operation"]


def test_limits_are_those_of_the_contract() -> None:
    limits = plain(model_card(SPEC))["limits"]
    assert limits["prompt_chars_max"] == 4096
    assert limits["image"]["bytes_max"] == 10 * 1024 * 1024
    assert limits["video"] == {
        "types": ["video/mp4"],
        "codecs": ["avc1", "avc3", "hvc1", "hev1", "av01"],
        "bytes_max": 50 * 1024 * 1024,
    }


PRICES = {
    "text_to_video": {"output_second_480p": "0.05", "output_second_720p": "0.07"},
    "image_to_video": {
        "output_second_480p": "0.05",
        "output_second_720p": "0.07",
        "input_image": "0.002",
    },
    "edit_video": {
        "output_second_480p": "0.05",
        "output_second_720p": "0.07",
        "input_video_second": "0.01",
    },
    "video_extend": {"input_video_second": "0.01", "extension_second": "0.05"},
}


@pytest.mark.parametrize("operation", PRICES)
def test_the_price_table_is_that_of_the_contract(operation: str) -> None:
    table = plain(pricing(MODELS.values()))
    assert (table["object"], table["currency"]) == ("list", "USD")
    row = next(row for row in table["data"] if row["operation"] == operation)
    assert {item["item"]: item["unit_price"] for item in row["items"]} == PRICES[operation]


def test_an_operators_price_is_the_price_shown() -> None:
    dearer = replace(SPEC, prices_micro={**SPEC.prices_micro, "input_image": 1_000_000})
    items = [item for row in plain(pricing([dearer]))["data"] for item in row["items"]]
    assert {item["unit_price"] for item in items if item["item"] == "input_image"} == {"1.00"}


def test_what_has_no_price_is_not_offered_for_nothing() -> None:
    prices = {name: price for name, price in SPEC.prices_micro.items() if name != "input_image"}
    items = [
        i
        for row in plain(pricing([replace(SPEC, prices_micro=prices)]))["data"]
        for i in row["items"]
    ]
    assert "input_image" not in {item["item"] for item in items}
