"""`/v1/balance`, `/v1/usage`, `/v1/ledger`: what a customer may know of its money."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from reelgate.domain.money import parse_usd
from reelgate.domain.order import MediaDraft
from reelgate.flows import accounts
from reelgate.flows.gateway import Caller
from reelgate.providers.base import Failed, Pending, Verdict
from tests.support.http import client_of, new_app
from tests.support.world import World

DAY_MS = 86_400_000
TODAY = "2023-11-14"  # where ManualClock begins


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of the world's account."""
    made = await accounts.create_key(world.gateway, world.caller.account_id, name="site")
    world.caller = Caller(world.caller.account_id, made.key)
    async with client_of(new_app(world.gateway), made.secret) as client:
        yield client


async def get(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def fail(world: World) -> None:
    world.provider.on_poll.append(Failed(Verdict.FAILED, "no"))
    assert (await world.live(await world.submit())).failure is not None


# ---- balance ------------------------------------------------------------------------------


async def test_the_balance_follows_the_life_of_a_task(
    world: World, http: httpx.AsyncClient
) -> None:
    fresh = {"object": "balance", "currency": "USD", "available": "100.00", "held": "0.00"}
    assert await get(http, "/v1/balance") == fresh
    task = await world.submit(seconds=3)
    running = {**fresh, "available": "99.85", "held": "0.15"}  # 3 x 0.05
    assert await get(http, "/v1/balance") == running
    await world.live(task)  # its film has two seconds
    assert await get(http, "/v1/balance") == {**fresh, "available": "99.90"}


async def test_money_needs_a_key(world: World) -> None:
    async with client_of(new_app(world.gateway), None) as stranger:
        for path in ("/v1/balance", "/v1/usage", "/v1/ledger"):
            answer = await stranger.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


# ---- ledger -------------------------------------------------------------------------------


async def test_the_statement_explains_the_balance_row_by_row(
    world: World, http: httpx.AsyncClient
) -> None:
    task = await world.submit(seconds=3)
    await world.live(task)
    account_id = world.caller.account_id
    await accounts.adjust(world.gateway, account_id, -1_000_000, note="typo in an invoice")
    rows = (await get(http, "/v1/ledger?order=asc"))["data"]
    columns = ("kind", "amount", "available_change", "held_change", "available", "held")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("credit", "100.00", "100.00", "0.00", "100.00", "0.00"),
        ("hold", "0.15", "-0.15", "0.15", "99.85", "0.15"),
        ("capture", "0.10", "0.00", "-0.10", "99.85", "0.05"),
        ("release", "0.05", "0.05", "-0.05", "99.90", "0.00"),
        ("adjust", "1.00", "-1.00", "0.00", "98.90", "0.00"),
    ]
    assert [row["task_id"] for row in rows] == [None, task.id, task.id, task.id, None]
    assert rows[-1]["note"] == "typo in an invoice"
    of_task = (await get(http, f"/v1/ledger?task_id={task.id}"))["data"]
    assert [row["kind"] for row in of_task] == ["release", "capture", "hold"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_stay_right_while_rows_are_added(
    world: World, http: httpx.AsyncClient, order: str
) -> None:
    tasks = [await world.submit() for _ in range(5)]
    before = (await get(http, f"/v1/ledger?order={order}&limit=100"))["data"]
    seen: list[dict[str, Any]] = []
    path = f"/v1/ledger?order={order}&limit=2"
    while True:
        page = await get(http, path)
        assert page["object"] == "list"
        seen += page["data"]
        if not page["has_more"] or len(seen) >= len(before):
            break
        assert (page["first_id"], page["last_id"]) == (seen[-2]["id"], seen[-1]["id"])
        path = f"/v1/ledger?order={order}&limit=2&after={page['last_id']}"
        await world.submit()
    assert seen[: len(before)] == before
    assert len(before) == len(tasks) + 1


async def test_a_statement_holds_nothing_of_other_accounts(
    world: World, http: httpx.AsyncClient
) -> None:
    other = await accounts.create_account(world.gateway, world.caller.key.id, 5_000_000)
    rows = (await get(http, "/v1/ledger"))["data"]
    assert [row["amount"] for row in rows] == ["100.00"]
    assert other.id not in str(rows)


# ---- usage --------------------------------------------------------------------------------


async def test_usage_adds_up_to_what_the_ledger_captured(
    world: World, http: httpx.AsyncClient
) -> None:
    for seconds in (2, 2, 5):
        await world.live(await world.submit(seconds=seconds))
    await fail(world)
    clip = MediaDraft("image", url="https://example.com/a.png")
    await world.live(await world.submit(image=clip))
    usage = await get(http, "/v1/usage")
    assert (usage["from"], usage["to"], usage["currency"]) == ("2023-10-16", TODAY, "USD")
    text, image = usage["data"][1], usage["data"][0]
    assert (image["operation"], image["cost"]) == ("image_to_video", "0.102")  # 2 x 0.05 + 0.002
    # Three films of two seconds (whatever was asked) and a failure that costs nothing.
    assert (text["operation"], text["tasks"], text["completed"]) == ("text_to_video", 4, 3)
    assert (text["day"], text["model"], text["key"]) == (TODAY, "grok-imagine", None)
    assert text["items"] == [
        {"item": "output_second_480p", "quantity": 6, "unit": "second", "amount": "0.30"}
    ]
    assert (usage["total"]["cost"], usage["total"]["tasks"]) == ("0.402", 5)
    rows = (await get(http, "/v1/ledger?limit=100"))["data"]
    captured = sum(parse_usd(row["amount"]) for row in rows if row["kind"] == "capture")
    assert captured == 402_000


async def test_usage_by_key_and_day(world: World, http: httpx.AsyncClient) -> None:
    await world.live(await world.submit())
    world.clock.advance_ms(DAY_MS)
    second = await accounts.create_key(world.gateway, world.caller.account_id, name="other")
    first_key, world.caller = world.caller.key, Caller(world.caller.account_id, second.key)
    await world.live(await world.submit())
    usage = await get(http, "/v1/usage?group_by=day,key")
    assert [(row["day"], row["key"]) for row in usage["data"]] == [
        (TODAY, first_key.id),
        ("2023-11-15", second.key.id),
    ]
    only = await get(http, "/v1/usage?from=2023-11-15&to=2023-11-15&group_by=")
    assert (only["data"], only["total"]["cost"]) == ([], "0.10")
    nothing = await get(http, "/v1/usage?from=2020-01-01&to=2020-01-31")
    assert (nothing["data"], nothing["total"]["cost"]) == ([], "0.00")


async def test_a_task_counts_on_the_day_it_ended(world: World, http: httpx.AsyncClient) -> None:
    before_midnight = DAY_MS - world.clock.now_ms() % DAY_MS - 1
    world.clock.advance_ms(before_midnight)
    world.provider.on_poll += [Pending()]
    task = await world.live(await world.submit())
    assert task.created_at_ms // DAY_MS < (task.ended_at_ms or 0) // DAY_MS
    usage = await get(http, "/v1/usage?from=2023-11-15&to=2023-11-15")
    assert usage["total"]["tasks"] == 1


async def test_usage_as_csv(world: World, http: httpx.AsyncClient) -> None:
    await world.live(await world.submit())
    asked = await http.get("/v1/usage?format=csv&group_by=day,model")
    accepted = await http.get("/v1/usage?group_by=day,model", headers={"accept": "text/csv"})
    assert asked.text == accepted.text
    assert asked.headers["content-type"] == "text/csv; charset=utf-8"
    assert "usage-2023-10-16-2023-11-14.csv" in asked.headers["content-disposition"]
    assert list(csv.DictReader(io.StringIO(asked.text))) == [
        {
            "day": TODAY,
            "model": "grok-imagine",
            "tasks": "1",
            "completed": "1",
            "cost_usd": "0.10",
            "items": "output_second_480p: 2 = 0.10",
        }
    ]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/usage?from=yesterday", "from"),
        ("/v1/usage?from=20231114", "from"),
        ("/v1/usage?to=2023-13-01", "to"),
        ("/v1/usage?from=2023-02-02&to=2023-02-01", "from"),
        ("/v1/usage?from=1970-01-01&to=2023-01-01", "from"),
        ("/v1/usage?group_by=account", "group_by"),
        ("/v1/usage?group_by=day,day", "group_by"),
        ("/v1/usage?format=xml", "format"),
        ("/v1/ledger?limit=0", "limit"),
        ("/v1/ledger?limit=101", "limit"),
        ("/v1/ledger?order=up", "order"),
        ("/v1/ledger?after=7", "after"),
        ("/v1/ledger?after=entry_x", "after"),
    ],
)
async def test_what_is_refused(http: httpx.AsyncClient, path: str, param: str) -> None:
    answer = await http.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", param)
