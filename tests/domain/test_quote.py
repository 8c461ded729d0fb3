"""Prices: every sum here was made by hand from the price list of contract section 7.

output second 480p / 720p   0.05 / 0.07      input image          0.002
input video second          0.01             extension second     0.05
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reelgate.catalog import MODELS
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.model import Operation
from reelgate.domain.money import usd
from reelgate.domain.order import MediaInput, Order, SourceFacts
from reelgate.domain.quote import Bill, Terms, billed_seconds, final_bill, quote

SPEC = MODELS["grok-imagine"]
PRICES = SPEC.prices_micro
PICTURE = MediaInput(url="https://example.com/a.png")
CLIP = MediaInput(url="https://example.com/a.mp4")
HD_8S = SourceFacts(1280, 720, 8_000)
SD_6S = SourceFacts(854, 480, 6_040)


def order(operation: Operation, **fields: object) -> Order:
    return Order(model=SPEC.id, operation=operation, prompt="p", **fields)  # type: ignore[arg-type]


TEXT_6S_480P = order(Operation.TEXT_TO_VIDEO, seconds=6, tier="480p")
TEXT_6S_720P = order(Operation.TEXT_TO_VIDEO, seconds=6, tier="720p")
IMAGE_10S = order(Operation.IMAGE_TO_VIDEO, seconds=10, tier="480p", images=(PICTURE,))
REFERENCE_10S = order(Operation.REFERENCE_TO_VIDEO, seconds=10, tier="720p", images=(PICTURE,) * 7)
EDIT = order(Operation.EDIT_VIDEO, video=CLIP)
EDIT_480P = order(Operation.EDIT_VIDEO, video=CLIP, tier="480p")
EDIT_SAYS_8S = order(Operation.EDIT_VIDEO, video=CLIP, input_video_seconds=8)
EXTEND_6S = order(Operation.VIDEO_EXTEND, video=CLIP, seconds=6)
EXTEND_SAYS_8S = order(Operation.VIDEO_EXTEND, video=CLIP, seconds=6, input_video_seconds=8)


@dataclass(frozen=True)
class Held:
    name: str
    order: Order
    usd: str
    source: SourceFacts | None = None


HELD = (
    Held("6 s of 480p: 6 x 0.05", TEXT_6S_480P, "0.30"),
    Held("6 s of 720p: 6 x 0.07", TEXT_6S_720P, "0.42"),
    Held("one picture: 10 x 0.05 + 0.002", IMAGE_10S, "0.502"),
    Held("seven pictures: 10 x 0.07 + 7 x 0.002", REFERENCE_10S, "0.714"),
    Held("edit, nothing known: 9 x 0.07 + 9 x 0.01", EDIT, "0.72"),
    Held("edit at 480p, nothing known: 9 x 0.05 + 9 x 0.01", EDIT_480P, "0.54"),
    Held("edit, said to be 8 s: 8 x 0.07 + 8 x 0.01", EDIT_SAYS_8S, "0.64"),
    Held("edit, measured 6.04 s of 480p: 6 x 0.05 + 6 x 0.01", EDIT_SAYS_8S, "0.36", SD_6S),
    Held("edit, measured 8 s of 720p, though 480p asked", EDIT_480P, "0.64", HD_8S),
    Held("extend, nothing known: 15 x 0.01 + 6 x 0.05", EXTEND_6S, "0.45"),
    Held("extend, said to be 8 s: 8 x 0.01 + 6 x 0.05", EXTEND_SAYS_8S, "0.38"),
    Held("extend, measured 6.04 s: 6 x 0.01 + 6 x 0.05", EXTEND_SAYS_8S, "0.36", SD_6S),
    Held("extend of 720p costs the same", EXTEND_SAYS_8S, "0.38", HD_8S),
)


@pytest.mark.parametrize("row", HELD, ids=lambda row: row.name)
def test_what_is_held_at_submit(row: Held) -> None:
    held = quote(row.order, SPEC, PRICES, row.source)
    assert usd(held.total_micro) == row.usd
    assert sum(line.amount_micro for line in held.lines) == held.total_micro


@dataclass(frozen=True)
class Charged:
    name: str
    order: Order
    delivered: SourceFacts
    usd: str
    source: SourceFacts | None = None


CHARGED = (
    Charged("as asked", TEXT_6S_720P, SourceFacts(1280, 720, 6_000), "0.42"),
    Charged("6.04 s is 6 s", TEXT_6S_720P, SourceFacts(1280, 720, 6_040), "0.42"),
    Charged("shorter than asked", TEXT_6S_720P, SourceFacts(1280, 720, 4_200), "0.35"),
    Charged("smaller than asked", TEXT_6S_720P, SourceFacts(854, 480, 6_000), "0.30"),
    Charged("longer than asked is capped", TEXT_6S_720P, SourceFacts(1280, 720, 9_000), "0.42"),
    Charged("larger than asked is capped", TEXT_6S_480P, SourceFacts(1280, 720, 6_000), "0.30"),
    Charged("pictures are charged", IMAGE_10S, SourceFacts(854, 480, 10_000), "0.502"),
    Charged("edit, measured", EDIT, SourceFacts(854, 480, 6_040), "0.36", SD_6S),
    Charged("edit of what nobody measured", EDIT, SourceFacts(1280, 720, 5_000), "0.40"),
    Charged("extend, measured", EXTEND_6S, SourceFacts(854, 480, 12_040), "0.36", SD_6S),
    Charged("extend of what nobody measured", EXTEND_6S, SourceFacts(854, 480, 14_000), "0.38"),
    Charged(
        "extend, less added than asked", EXTEND_6S, SourceFacts(854, 480, 10_040), "0.26", SD_6S
    ),
)


@pytest.mark.parametrize("row", CHARGED, ids=lambda row: row.name)
def test_what_is_charged_at_the_end(row: Charged) -> None:
    held = quote(row.order, SPEC, PRICES, row.source)
    terms = Terms(PRICES, held)
    bill = final_bill(row.order, SPEC, terms, row.delivered, row.source, held.total_micro)
    assert usd(bill.total_micro) == row.usd
    assert sum(line.amount_micro for line in bill.lines) == bill.total_micro
    assert bill.total_micro <= held.total_micro


def test_the_prices_of_submit_are_the_prices_of_the_end() -> None:
    held = quote(TEXT_6S_720P, SPEC, PRICES, None)
    cheaper = Terms({**PRICES, "output_second_720p": 10_000}, held)
    bill = final_bill(TEXT_6S_720P, SPEC, cheaper, SourceFacts(1280, 720, 6_000), None, 10**9)
    assert usd(bill.total_micro) == "0.06"


def test_every_line_says_what_it_is() -> None:
    bill = quote(REFERENCE_10S, SPEC, PRICES, None)
    assert [
        (line.item, line.quantity, line.unit, usd(line.amount_micro)) for line in bill.lines
    ] == [
        ("output_second_720p", 10, "second", "0.70"),
        ("input_image", 7, "image", "0.014"),
    ]


def test_what_was_above_the_hold_is_shown_as_a_line() -> None:
    terms = Terms(PRICES, Bill(()))
    bill = final_bill(TEXT_6S_720P, SPEC, terms, SourceFacts(1280, 720, 9_000), None, 420_000)
    last = bill.lines[-1]
    assert (last.item, usd(last.amount_micro)) == ("above_hold_not_charged", "-0.21")
    assert bill.total_micro == 420_000


def names_of(bill: Bill) -> set[str]:
    return {line.item for line in bill.lines}


@pytest.mark.parametrize("missing", PRICES)
def test_nothing_runs_free(missing: str) -> None:
    """Some order needs each price, and is refused without it."""
    prices = {name: price for name, price in PRICES.items() if name != missing}
    needed_by = [
        row for row in HELD if missing in names_of(quote(row.order, SPEC, PRICES, row.source))
    ]
    assert needed_by
    for row in needed_by:
        with pytest.raises(Refusal, match=missing) as refused:
            quote(row.order, SPEC, prices, row.source)
        assert refused.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("duration_ms", "seconds"),
    [(0, 1), (40, 1), (1_000, 1), (1_100, 1), (1_101, 2), (6_040, 6), (6_100, 6), (6_101, 7)],
)
def test_whole_seconds_are_rounded_up_with_a_tolerance(duration_ms: int, seconds: int) -> None:
    assert billed_seconds(duration_ms) == seconds
