"""The list: keyset pages that stay right while tasks are being added and deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.live import Account, Live

PAGE_FIELDS = {"object", "data", "first_id", "last_id", "has_more"}


def page(account: Account, **query: str | int) -> dict[str, Any]:
    answer = account.http.get("/v1/videos", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == PAGE_FIELDS
    assert found["object"] == "list"
    ids = [task["id"] for task in found["data"]]
    assert found["first_id"] == (ids[0] if ids else None)
    assert found["last_id"] == (ids[-1] if ids else None)
    return found


def pages(account: Account, **query: str | int) -> Iterator[dict[str, Any]]:
    """Page after page, as the OpenAI SDKs go through them."""
    after: dict[str, str] = {}
    while True:
        found = page(account, **query, **after)
        yield found
        if not found["has_more"]:
            return
        after = {"after": found["last_id"]}


def ids_of(found: dict[str, Any]) -> list[str]:
    return [task["id"] for task in found["data"]]


def failing(account: Account) -> str:
    """A task that costs nothing to end."""
    task_id: str = account.create(prompt="[sandbox:refuse]")["id"]
    return task_id


@pytest.fixture(scope="module")
def full(either: Live) -> tuple[Account, list[str]]:
    """An account with 45 tasks, and their ids in the order of their making."""
    account = either.account()
    return account, [failing(account) for _ in range(45)]


def test_an_empty_list(either: Live) -> None:
    empty = page(either.account())
    assert empty == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


def test_the_newest_twenty_come_first(full: tuple[Account, list[str]]) -> None:
    account, made = full
    first = page(account)
    assert ids_of(first) == made[:-21:-1]
    assert first["has_more"] is True


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 45), (20, [20, 20, 5]), (45, [45])])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_hold_everything_once(
    full: tuple[Account, list[str]], limit: int, sizes: list[int], order: str
) -> None:
    account, made = full
    found = list(pages(account, limit=limit, order=order))
    assert [len(one["data"]) for one in found] == sizes
    ids = [task_id for one in found for task_id in ids_of(one)]
    assert ids == (made if order == "asc" else made[::-1])


def test_a_page_behind_the_last(full: tuple[Account, list[str]]) -> None:
    account, made = full
    assert page(account, after=made[0])["data"] == []
    assert page(account, after=made[-1], order="asc")["data"] == []
    assert page(account, after=made[-1], order="asc")["has_more"] is False


def test_a_task_in_a_list_is_the_task(full: tuple[Account, list[str]]) -> None:
    account, made = full
    account.ended(made[-1])
    alone = account.http.get(f"/v1/videos/{made[-1]}").json()
    assert page(account, limit=1)["data"] == [alone]


def test_pages_stay_right_while_tasks_are_added(either: Live) -> None:
    account = either.account()
    before = [failing(account) for _ in range(30)]
    stop, added = threading.Event(), list[str]()

    def add(n: int) -> None:
        helper = either.client(account.key)
        while not stop.is_set():
            answer = helper.post(
                "/v1/videos",
                json={"model": "grok-imagine", "prompt": f"[sandbox:refuse] {n}", "duration": 1},
            )
            added.append(answer.json()["id"])

    with ThreadPoolExecutor(2) as pool:
        helpers = [pool.submit(add, n) for n in range(2)]
        try:
            while not added:
                time.sleep(0.01)
            newest_first = [i for one in pages(account, limit=3, order="desc") for i in ids_of(one)]
            oldest_first = list[str]()
            for one in pages(account, limit=7, order="asc"):
                oldest_first += ids_of(one)
                if len(oldest_first) > 60:
                    break
        finally:
            stop.set()
            for helper in helpers:
                helper.result()
    assert len(set(newest_first)) == len(newest_first)
    assert len(set(oldest_first)) == len(oldest_first)
    assert newest_first == sorted(newest_first, reverse=True)
    assert oldest_first == sorted(oldest_first)
    assert [i for i in newest_first if i in before] == before[::-1]
    assert oldest_first[:30] == before
    assert set(newest_first + oldest_first) <= {*before, *added}


def test_a_deleted_task_is_still_a_place_to_go_on_from(either: Live) -> None:
    account = either.account()
    made = [failing(account) for _ in range(4)]
    for task_id in made:
        account.ended(task_id)
    assert account.http.delete(f"/v1/videos/{made[2]}").status_code == 200
    assert ids_of(page(account, after=made[2])) == [made[1], made[0]]
    assert ids_of(page(account)) == [made[3], made[1], made[0]]
    assert ids_of(page(account, order="asc", limit=2)) == [made[0], made[1]]
