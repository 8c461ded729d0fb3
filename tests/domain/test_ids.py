"""Ids: opaque, unguessable, sortable by time."""

from __future__ import annotations

import re

import pytest

from reelgate.domain.ids import is_task_id, new_id, new_task_id

NOW_MS = 1_790_000_000_000


def test_a_task_id_is_task_and_32_lower_case_base32_characters() -> None:
    for _ in range(1000):
        assert re.fullmatch(r"task_[a-z2-7]{32}", new_task_id(NOW_MS))


def test_ids_sort_by_time() -> None:
    moments = [0, 1, 255, 256, NOW_MS, NOW_MS + 1, NOW_MS + 2**31, 2**48 - 1]
    ids = [new_task_id(moment) for moment in moments]
    assert ids == sorted(ids)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_task_id(NOW_MS) for _ in range(1000)}) == 1000


def test_other_ids_carry_their_prefix_and_sort_too() -> None:
    first, second = new_id("acct", NOW_MS), new_id("acct", NOW_MS + 1)
    assert first.startswith("acct_")
    assert first < second


def test_what_is_made_is_known() -> None:
    assert is_task_id(new_task_id(NOW_MS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task_",
        "generations",
        "task_" + "a" * 31,
        "task_" + "a" * 33,
        "task_" + "A" * 32,
        "task_" + "a" * 31 + "1",
        "task_" + "a" * 32 + "\n",
        " task_" + "a" * 32,
        "video_" + "a" * 32,
        "task_" + "а" * 32,  # Cyrillic
    ],
)
def test_what_is_not_a_task_id(text: str) -> None:
    assert not is_task_id(text)
