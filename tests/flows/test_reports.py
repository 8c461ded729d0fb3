"""The operator's report: what was taken, what it cost, what is left, to the last tick."""

from __future__ import annotations

from datetime import date

import pytest

from reelgate.domain.errors import Refusal
from reelgate.domain.task import State
from reelgate.flows import accounts, cancel, reports
from reelgate.flows.reports import Period, Report, ReportRow
from reelgate.providers.base import Cause, Done, Failed, Refused, Uncertain, Verdict
from reelgate.store.reports import Sums
from tests.support.world import World

DAY_MS = 86_400_000
TODAY = date(2023, 11, 14)  # where ManualClock begins
TWO_SECONDS = 100_000  # micro-USD of two seconds at 480p


async def mine(world: World, group_by: tuple[str, ...] = ("account",)) -> list[ReportRow]:
    """The rows of the world's own upstream or account, of the month to come."""
    period = Period(TODAY, date(2023, 12, 14))
    own = {world.upstream.name, world.caller.account_id}
    found = await reports.report(world.gateway, period, group_by)
    return [row for row in found.rows if own & set(row.group.values())]


async def every_ending(world: World) -> None:
    """Two films, of which one has a cost; a failure that cost something and one that did not; a
    cancelled one; a refused one; one that nobody knows of."""
    provider = world.provider
    provider.on_poll.append(Done("film", cost_ticks=333_333_333))
    await world.live(await world.submit())
    await world.live(await world.submit())
    provider.on_poll += [Failed(Verdict.MODERATED, "no", cost_ticks=7), Failed(Verdict.FAILED, "")]
    await world.live(await world.submit())
    await world.live(await world.submit())
    await cancel.cancel(world.gateway, await world.submit())
    provider.on_submit.append(Refused(Verdict.INVALID_INPUT, "no"))
    await world.live(await world.submit())
    provider.on_submit.append(Uncertain(Cause.NETWORK, "reset"))
    lost = await world.live(await world.submit(seconds=3))
    assert lost.state is State.FAILED


async def test_every_ending_in_the_books(world: World) -> None:
    await every_ending(world)
    (row,) = await mine(world)
    assert row.sums == Sums(
        tasks=7,
        completed=2,
        charged_micro=2 * TWO_SECONDS,
        loss_micro=150_000,  # 3 x 0.05
        cost_ticks=333_333_340,
        wasted_ticks=7,
        cost_unknown=1,
        outcome_unknown=1,
    )
    # 0.20 - 0.15 - 0.0333333340
    assert row.margin_ticks == 2_000_000_000 - 1_500_000_000 - 333_333_340


async def test_the_table_for_people_and_csv(world: World) -> None:
    await every_ending(world)
    period = Period(TODAY, TODAY)
    row = (await mine(world, ("upstream", "operation")))[0]
    found = Report(period, ("upstream", "operation"), [row], row, None)  # type: ignore[arg-type] # not shown
    header, line = reports.csv_text(reports.report_table(found)).splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True)) == {
        "upstream": world.upstream.name,
        "operation": "text_to_video",
        "tasks": "6",  # the one that was cancelled in the queue never had an upstream
        "completed": "2",
        "outcome_unknown": "1",
        "revenue_usd": "0.20",
        "upstream_cost_usd": "0.033333334",
        "wasted_usd": "0.0000000007",
        "losses_usd": "0.15",
        "margin_usd": "0.016666666",
        "cost_unknown": "1",
    }


async def test_ticks_are_added_up_before_they_are_shown(world: World) -> None:
    for _ in range(3):
        world.provider.on_poll.append(Done("film", cost_ticks=1))
        await world.live(await world.submit())
    (row,) = await mine(world)
    assert (row.sums.cost_ticks, row.margin_ticks) == (3, 3_000_000_000 - 3)


async def test_a_loss_in_the_report_is_a_loss_in_the_ledger(world: World) -> None:
    world.provider.on_submit.append(Uncertain(Cause.NETWORK, "reset"))
    lost = await world.live(await world.submit())
    assert await world.entries(lost) == [
        ("hold", TWO_SECONDS),
        ("release", TWO_SECONDS),
        ("adjust", TWO_SECONDS),
    ]
    (row,) = await mine(world)
    assert (row.sums.loss_micro, row.sums.charged_micro) == (TWO_SECONDS, 0)


async def test_the_report_is_the_sum_of_the_bills_that_customers_saw(world: World) -> None:
    seen = 0
    for seconds in (1, 2, 5, 9):
        world.clock.advance_ms(DAY_MS)
        task = await world.live(await world.submit(seconds=seconds, size="720p"))
        assert task.bill is not None
        seen += task.bill.total_micro
    by_day = await mine(world, ("day", "account"))
    assert [row.group["day"] for row in by_day] == [f"2023-11-{day}" for day in range(15, 19)]
    assert sum(row.sums.charged_micro for row in by_day) == seen == 50_000 * 7 + 20_000
    whole = await reports.report(world.gateway, Period(TODAY, date(2024, 1, 1)), ())
    each = await reports.report(world.gateway, Period(TODAY, date(2024, 1, 1)), ("account", "day"))
    assert whole.total == each.total
    assert whole.rows == []
    usage = await reports.usage(
        world.gateway, world.caller.account_id, Period(TODAY, date(2024, 1, 1)), ("key",)
    )
    assert usage.total.charged_micro == seen
    # One second was asked for, two were delivered: what is above the hold is not charged.
    assert {item.item: item.amount_micro for item in usage.total.items.values()} == {
        "output_second_480p": 400_000,
        "above_hold_not_charged": -30_000,
    }


async def test_what_is_open_now(world: World) -> None:
    period = Period(TODAY, TODAY)
    before = (await reports.report(world.gateway, period, ())).open_now
    world.provider.on_submit.append(Uncertain(Cause.NETWORK, "reset"))
    await world.live(await world.submit(), until=State.STRANDED)
    running = await world.submit(seconds=4)
    await world.live(running, until=State.RUNNING)
    await world.submit(seconds=1)
    now = (await reports.report(world.gateway, period, ())).open_now
    assert (now.live - before.live, now.stranded - before.stranded) == (3, 1)
    assert now.stranded_micro - before.stranded_micro == TWO_SECONDS
    assert now.held_micro - before.held_micro == 350_000  # 2 + 4 + 1 s at 0.05
    assert now.available_micro - before.available_micro == -350_000
    await accounts.credit(world.gateway, world.caller.account_id, 5, reference=None, note="")
    after = (await reports.report(world.gateway, period, ())).open_now
    assert after.available_micro - now.available_micro == 5


# ---- what is asked for --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (None, None, (date(2023, 10, 16), TODAY)),
        ("2023-11-14", None, (TODAY, TODAY)),
        (None, "2023-01-30", (date(2023, 1, 1), date(2023, 1, 30))),
        (None, "2024-02-01", (date(2023, 10, 16), date(2024, 2, 1))),
        ("1970-01-01", "1970-01-01", (date(1970, 1, 1), date(1970, 1, 1))),
    ],
)
async def test_the_days_of_a_report(
    world: World, first: str | None, last: str | None, days: tuple[date, date]
) -> None:
    period = reports.period(world.gateway, first, last)
    assert (period.first, period.last) == days
    assert period.until_ms - period.from_ms == ((days[1] - days[0]).days + 1) * DAY_MS


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("14.11.2023", None),
        ("2023-11-15", None),
        ("1969-12-31", "1970-01-01"),
        (None, "0001-01-01"),
        (None, ""),
    ],
)
async def test_days_that_are_none(world: World, first: str | None, last: str | None) -> None:
    with pytest.raises(Refusal):
        reports.period(world.gateway, first, last)


def test_the_groups_of_a_report() -> None:
    allowed = reports.REPORT_GROUPS
    assert reports.groups(None, allowed, ("day",)) == ("day",)
    assert reports.groups("", allowed, ("day",)) == ()
    assert reports.groups("upstream, day", allowed, ()) == ("upstream", "day")
    for given in ("days", "day,day", "key"):
        with pytest.raises(Refusal, match="group_by"):
            reports.groups(given, allowed, ())


def test_a_first_day_is_a_whole_day() -> None:
    period = Period(date(1970, 1, 2), date(1970, 1, 3))
    assert (period.from_ms, period.until_ms) == (DAY_MS, 3 * DAY_MS)
