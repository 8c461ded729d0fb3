"""What every field of the operator's report means.

Amounts are decimal strings of USD; costs may have ten places, as exact as upstreams tell them.
"""

from typing import Literal

import msgspec

from reelgate.domain.money import usd, usd_of_ticks
from reelgate.flows.reports import Report, ReportRow


class ReportLine(msgspec.Struct, frozen=True, kw_only=True):
    """One group's sums; null where it was not grouped by.

    `margin` is `revenue` without `upstream_cost` and `losses`. `wasted` is the part of the cost
    that brought no video; `losses` were booked for outcomes that nobody knows (`outcome_unknown`
    counts them); `cost_unknown` counts videos whose upstream did not say what they cost.
    """

    day: str | None
    model: str | None
    upstream: str | None
    operation: str | None
    account: str | None
    tasks: int
    completed: int
    outcome_unknown: int
    revenue: str
    upstream_cost: str
    wasted: str
    losses: str
    margin: str
    cost_unknown: int


class OpenNow(msgspec.Struct, frozen=True, kw_only=True):
    """What is not settled at this moment, and what customers own."""

    tasks: int
    stranded: int
    stranded_held: str
    held: str
    available: str


class ReportCard(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that ended from the first to the last day, both included."""

    object: Literal["report"] = "report"
    currency: Literal["USD"] = "USD"
    first_day: str = msgspec.field(name="from")
    last_day: str = msgspec.field(name="to")
    group_by: tuple[str, ...]
    data: list[ReportLine]
    total: ReportLine
    now: OpenNow


def report_card(found: Report) -> ReportCard:
    now = found.open_now
    return ReportCard(
        first_day=str(found.period.first),
        last_day=str(found.period.last),
        group_by=found.group_by,
        data=[_report_line(row) for row in found.rows],
        total=_report_line(found.total),
        now=OpenNow(
            tasks=now.live,
            stranded=now.stranded,
            stranded_held=usd(now.stranded_micro),
            held=usd(now.held_micro),
            available=usd(now.available_micro),
        ),
    )


def _report_line(row: ReportRow) -> ReportLine:
    group, sums = row.group, row.sums
    return ReportLine(
        day=group.get("day"),
        model=group.get("model"),
        upstream=group.get("upstream"),
        operation=group.get("operation"),
        account=group.get("account"),
        tasks=sums.tasks,
        completed=sums.completed,
        outcome_unknown=sums.outcome_unknown,
        revenue=usd(sums.charged_micro),
        upstream_cost=usd_of_ticks(sums.cost_ticks),
        wasted=usd_of_ticks(sums.wasted_ticks),
        losses=usd(sums.loss_micro),
        margin=usd_of_ticks(row.margin_ticks),
        cost_unknown=sums.cost_unknown,
    )
