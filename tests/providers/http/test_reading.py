"""Fields whose type is in doubt."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from reelgate.providers.http.reading import (
    RETRY_AFTER_MS_MAX,
    parse,
    percent,
    readable_ref,
    text,
    wish_ms,
    word,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (45, 45),
        (99, 99),
        (100, 99),
        (10**30, 99),
        (-3, 0),
        (33.9, 33),
        (1e300, 99),
        ("45", 45),
        ("45%", 45),
        (" 45.7 % ", 45),
        ("", None),
        ("half", None),
        ("٤٥", None),
        ("9" * 5_000, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_percent(value: object, expected: int | None) -> None:
    assert percent(value) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3_000),
        ({"retry-after": "0"}, 0),
        ({"Retry-After": "999999999999"}, RETRY_AFTER_MS_MAX),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "9", "Retry-After-Ms": "250"}, 250),
        ({"Retry-After": "9", "Retry-After-Ms": "x"}, 9_000),
        ({"openai-poll-after-ms": "4000"}, 4_000),
        ({"openai-poll-after-ms": "9" * 400}, None),
        (
            {
                "Retry-After": "Sun, 22 Nov 2026 10:00:07 GMT",
                "Date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            7_000,
        ),
        (
            {
                "Retry-After": "Sun, 22 Nov 2026 09:00:00 GMT",
                "Date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
            0,
        ),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:07 GMT"}, None),
    ],
)
def test_wish(headers: dict[str, str], expected: int | None) -> None:
    assert wish_ms(CIMultiDict(headers)) == expected


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"a":1e999}', b"{}x", b'{"a":"\xff"}'],
)
def test_what_is_no_object_is_none(data: bytes) -> None:
    assert parse(data) is None


def test_small_ones() -> None:
    given: list[object] = ["a", 7, True, 1.5, None, 10**30, []]
    assert [text(value) for value in given] == ["a", "7", "", "", "", "", ""]
    assert word({"status": " DONE "}) == "done"
    assert word({"status": 3}) == ""
    assert readable_ref("task_1") == "task_1"
    assert readable_ref("a/b?c") == "a/b?c"
    refs: list[object] = ["", ".", "..", "a b", "é", "a\n", "x" * 513, 1]
    assert [readable_ref(ref) for ref in refs] == [None] * 8
