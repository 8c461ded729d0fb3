"""Money: exact integers inside, decimal strings outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate.domain.money import AMOUNT_MICRO_MAX, micro_from_ticks, parse_usd, usd

SHOWN = {
    0: "0.00",
    1: "0.000001",
    10: "0.00001",
    2_000: "0.002",
    50_000: "0.05",
    420_000: "0.42",
    422_000: "0.422",
    1_000_000: "1.00",
    1_500_000: "1.50",
    12_345_678: "12.345678",
    -50_000: "-0.05",
    -1_000_000: "-1.00",
    AMOUNT_MICRO_MAX: "10000000000.00",
}


@pytest.mark.parametrize(("micro", "text"), SHOWN.items())
def test_amounts_as_decimal_strings(micro: int, text: str) -> None:
    assert usd(micro) == text


@given(st.integers(-AMOUNT_MICRO_MAX, AMOUNT_MICRO_MAX))
def test_what_is_shown_reads_back_exactly(micro: int) -> None:
    assert parse_usd(usd(micro)) == micro


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("12.50", 12_500_000),
        (" 1 ", 1_000_000),
        ("0.000001", 1),
        ("-3", -3_000_000),
        ("1e2", 10**8),
    ],
)
def test_amounts_that_people_write(text: str, micro: int) -> None:
    assert parse_usd(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1,50",
        "$5",
        "0.0000001",
        "NaN",
        "Infinity",
        "-Infinity",
        "10000000000.01",
        "1e99",
    ],
)
def test_what_is_not_an_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"USD|decimal places"):
        parse_usd(text)


@pytest.mark.parametrize(("ticks", "micro"), [(0, 0), (1, 1), (10_000, 1), (10_001, 2), (4_200, 1)])
def test_upstream_ticks_are_rounded_up(ticks: int, micro: int) -> None:
    assert micro_from_ticks(ticks) == micro
