"""What a key may do: models, spending, tasks in flight, requests per second."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.task import State
from reelgate.flows import accounts, cancel
from reelgate.flows.gateway import Caller
from reelgate.flows.rate_limit import RateLimiter
from reelgate.providers.base import Failed, Verdict
from reelgate.store import key_usage
from reelgate.store.accounts import ApiKey, Limits
from tests.support.http import client_of, new_app
from tests.support.world import World

DAY_MS = 86_400_000
TWO_SECONDS = 100_000  # micro-USD of two seconds at 480p


async def limited(world: World, **limits: Any) -> str:
    """Let the world's caller have a key with these limits; the key itself."""
    account_id = world.caller.account_id
    made = await accounts.create_key(world.gateway, account_id, limits=Limits(**limits))
    world.caller = Caller(account_id, made.key)
    return made.secret


async def refused(world: World, seconds: int = 2) -> Code:
    with pytest.raises(Refusal) as refusal:
        await world.submit(seconds=seconds)
    return refusal.value.code


async def spent(world: World) -> key_usage.Usage:
    key, day = world.caller.key, key_usage.day_of(world.clock.now_ms())
    month = key_usage.first_day_of_month(day)
    return await world.gateway.db.read(lambda tx: key_usage.usage(tx, key.family, day, month))


# ---- spending -----------------------------------------------------------------------------


@pytest.mark.parametrize("period", ["day", "month", "total"])
async def test_spending_up_to_the_limit_and_not_a_micro_dollar_more(
    world: World, period: str
) -> None:
    await limited(world, **{f"spend_{period}_max_micro": 2 * TWO_SECONDS + 49_999})
    await world.submit()
    await world.submit()
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED
    assert (await spent(world)).total_micro == 2 * TWO_SECONDS
    assert (await world.balance())[1] == 2 * TWO_SECONDS


async def test_exactly_the_limit_is_allowed(world: World) -> None:
    await limited(world, spend_total_max_micro=TWO_SECONDS)
    await world.submit()
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED


async def test_what_was_given_back_may_be_spent_again(world: World) -> None:
    await limited(world, spend_total_max_micro=3 * TWO_SECONDS)
    task = await world.submit(seconds=6)  # holds all of it, and its film has two seconds
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED
    await world.live(task)
    assert (await spent(world)).total_micro == TWO_SECONDS
    world.provider.on_poll.append(Failed(Verdict.FAILED, "no"))
    await world.live(await world.submit(seconds=4))
    await cancel.cancel(world.gateway, await world.submit(seconds=4))
    assert (await spent(world)).total_micro == TWO_SECONDS
    await world.submit(seconds=4)
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED


async def test_a_new_day_and_a_new_month(world: World) -> None:
    # The clock begins on 14 November 2023.
    await limited(world, spend_day_max_micro=100_000, spend_month_max_micro=150_000)
    await world.submit()
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED
    world.clock.advance_ms(DAY_MS - world.clock.now_ms() % DAY_MS)
    await world.submit(seconds=1)
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED  # of the month
    world.clock.advance_ms(15 * DAY_MS)
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED  # 30 November
    world.clock.advance_ms(DAY_MS)
    await world.submit()
    assert await spent(world) == key_usage.Usage(100_000, 100_000, 250_000, 3)


def test_the_first_day_of_a_month_over_leap_years_and_year_ends() -> None:
    for text, first in (("2024-02-29", "2024-02-01"), ("2023-12-31", "2023-12-01")):
        days = [date.fromisoformat(day).toordinal() - 719_163 for day in (text, first)]
        assert key_usage.first_day_of_month(days[0]) == days[1]
    assert key_usage.first_day_of_month(0) == 0


async def test_a_limit_set_later_counts_what_was_spent_before(world: World) -> None:
    await limited(world)
    await world.submit()
    key = await accounts.change_key(
        world.gateway, world.caller.key.id, limits={"spend_total_max_micro": 149_999}
    )
    world.caller = replace(world.caller, key=key)
    assert await refused(world, seconds=1) is Code.SPEND_LIMIT_EXCEEDED


async def test_a_replay_is_not_counted_twice(world: World) -> None:
    await limited(world, spend_total_max_micro=TWO_SECONDS, tasks_in_flight_max=1)
    first = await world.submitted(world.draft(), idempotency_key="a")
    again = await world.submitted(world.draft(), idempotency_key="a")
    assert (again.task.id, again.replayed) == (first.task.id, True)
    assert (await spent(world)).live == 1


async def test_other_keys_have_limits_of_their_own(world: World) -> None:
    await limited(world, spend_total_max_micro=TWO_SECONDS)
    await world.submit()
    await limited(world, spend_total_max_micro=TWO_SECONDS)
    await world.submit()


# ---- models, tasks in flight --------------------------------------------------------------


async def test_models_that_a_key_may_use(world: World) -> None:
    account_id = world.caller.account_id
    for models, allowed in ((("grok-imagine",), True), ((), False), (None, True)):
        limits = Limits(models=models)
        made = await accounts.create_key(world.gateway, account_id, limits=limits)
        world.caller = Caller(account_id, made.key)
        if allowed:
            await world.submit()
        else:
            assert await refused(world) is Code.MODEL_NOT_ALLOWED


async def test_as_many_tasks_in_flight_as_allowed_and_one_more_when_one_ends(
    world: World,
) -> None:
    await limited(world, tasks_in_flight_max=2)
    first = await world.submit()
    await world.submit()
    with pytest.raises(Refusal) as refusal:
        await world.submit()
    assert refusal.value.code is Code.RATE_LIMIT_EXCEEDED
    assert refusal.value.headers["retry-after"] == "5"
    assert (await world.live(first)).state is State.COMPLETED
    await world.submit()
    assert await refused(world) is Code.RATE_LIMIT_EXCEEDED


async def test_nothing_may_fly_under_a_limit_of_none(world: World) -> None:
    await limited(world, tasks_in_flight_max=0)
    assert await refused(world) is Code.RATE_LIMIT_EXCEEDED


@pytest.mark.parametrize(
    ("limits", "made"),
    [({"tasks_in_flight_max": 7}, 7), ({"spend_day_max_micro": 9 * TWO_SECONDS + 1}, 9)],
)
async def test_limits_are_exact_when_all_come_at_once(
    world: World, limits: dict[str, int], made: int
) -> None:
    await limited(world, **limits)
    answers = await asyncio.gather(*(world.submit() for _ in range(40)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(refusals) == 40 - made
    assert (await world.balance())[1] == made * TWO_SECONDS
    assert (await spent(world)).live == made


# ---- requests per second ------------------------------------------------------------------


def a_key(family: str = "key_a") -> ApiKey:
    return ApiKey(family, "acct_a", "customer", "n", "…", 0, None, None, Limits())


def test_a_second_s_worth_at_once_then_steadily() -> None:
    now_ns = 10**12
    limiter = RateLimiter(lambda: now_ns)
    rooms = [limiter.take(a_key(), 4) for _ in range(4)]
    assert [room.remaining for room in rooms] == [3, 2, 1, 0]
    assert [room.reset_ns for room in rooms] == [250_000_000 * n for n in (1, 2, 3, 4)]
    for _ in range(3):  # what is refused is not counted
        with pytest.raises(Refusal) as refusal:
            limiter.take(a_key(), 4)
        assert refusal.value.code is Code.RATE_LIMIT_EXCEEDED
    assert limiter.take(a_key("key_b"), 4).remaining == 3
    now_ns += 250_000_000
    assert limiter.take(a_key(), 4).remaining == 0
    with pytest.raises(Refusal):
        limiter.take(a_key(), 4)
    now_ns += 10**9
    assert limiter.take(a_key(), 4).remaining == 3


@pytest.mark.parametrize("per_second", [1, 3, 7, 1_000])
def test_over_ten_seconds_it_is_what_was_allowed(per_second: int) -> None:
    now_ns, taken = 0, 0
    limiter = RateLimiter(lambda: now_ns)
    while now_ns < 10_000_000_000:
        try:
            limiter.take(a_key(), per_second)
            taken += 1
        except Refusal:
            now_ns += 400_000  # asked far more often than allowed
    assert taken in {11 * per_second - 1, 11 * per_second}  # the first second's worth at once


def test_rotated_keys_share_a_bucket() -> None:
    limiter = RateLimiter(lambda: 0)
    limiter.take(a_key(), 1)
    with pytest.raises(Refusal):
        limiter.take(replace(a_key("key_b"), family_id="key_a"), 1)


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelgate.flows.rate_limit._BUCKETS_MAX", 3)
    now_ns = 0
    limiter = RateLimiter(lambda: now_ns)
    for family in ("a", "b", "c"):
        limiter.take(a_key(family), 1)
    now_ns = 1_000_000_000
    limiter.take(a_key("d"), 1)
    assert len(limiter._full_at_ns) == 1


async def test_over_http_with_the_standard_headers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await limited(world, requests_per_second_max=2)
    app = new_app(world.gateway)
    app._api.limiter = RateLimiter(lambda: 0)
    async with client_of(app, secret) as client:
        answers = [await client.get("/v1/balance") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    shown = (
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "ratelimit-policy",
        "ratelimit",
    )
    assert [[answer.headers[name] for name in shown] for answer in answers] == [
        ["2", "1", "500ms", '"requests";q=2;w=1', '"requests";r=1;t=1'],
        ["2", "0", "1000ms", '"requests";q=2;w=1', '"requests";r=0;t=1'],
        ["2", "0", "1000ms", '"requests";q=2;w=1', '"requests";r=0;t=1'],
    ]
    refusal = answers[2]
    assert refusal.headers["retry-after"] == "1"
    assert refusal.json()["error"]["code"] == "rate_limit_exceeded"
    assert refusal.json()["error"]["type"] == "rate_limit_error"
    assert all(refusal.headers.get_list(name) == [refusal.headers[name]] for name in shown)


async def test_refusals_of_other_kinds_carry_them_too(world: World) -> None:
    secret = await limited(world, requests_per_second_max=5)
    async with client_of(new_app(world.gateway), secret) as client:
        answer = await client.get("/v1/videos/task_nobody")
    assert answer.status_code == 404
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"


async def test_keys_without_a_limit_are_told_nothing(world: World) -> None:
    secret = await limited(world)
    async with client_of(new_app(world.gateway), secret) as client:
        answer = await client.get("/v1/balance")
    assert not [name for name in answer.headers if "ratelimit" in name]
