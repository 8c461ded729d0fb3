"""What was charged and what it cost: for an account its usage, for the operator the whole.

A task counts on the day it ended (UTC): then it was charged. Costs are added up as the upstreams
told them, in ticks of 10^-10 USD, and never rounded on the way.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, timedelta

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.money import TICKS_PER_MICRO, usd, usd_of_ticks
from reelgate.domain.quote import Bill
from reelgate.domain.quoting import quoted
from reelgate.flows.gateway import Gateway
from reelgate.store import reports
from reelgate.store.database import Reader
from reelgate.store.reports import Open, Sums

USAGE_GROUPS = ("day", "model", "operation", "key")
REPORT_GROUPS = ("day", "model", "upstream", "operation", "account")
DAYS_MAX = 3_660

_DAY_MS = 86_400_000
_DAYS_DEFAULT = 30
_EPOCH = date(1970, 1, 1)

Group = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days, both included."""

    first: date
    last: date

    @property
    def from_ms(self) -> int:
        return (self.first - _EPOCH).days * _DAY_MS

    @property
    def until_ms(self) -> int:
        return ((self.last - _EPOCH).days + 1) * _DAY_MS


def period(gateway: Gateway, first: str | None, last: str | None) -> Period:
    """From two dates such as `2026-11-22`; by default the 30 days up to today.

    Raises Refusal (`invalid_value`), with `from` or `to` as its param.
    """
    today = _day(gateway.clock.now_ms() // _DAY_MS)
    end = today if last is None else _parsed(last, "to")
    start = (
        _parsed(first, "from")
        if first is not None
        else min(end, today) - timedelta(_DAYS_DEFAULT - 1)
    )
    if not 0 <= (end - start).days < DAYS_MAX:
        raise Refusal(
            Code.INVALID_VALUE, f"from {start} to {end}: 1 to {DAYS_MAX} days are shown.", "from"
        )
    return Period(start, end)


def groups(given: str | None, allowed: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """From names with commas between them. Raises Refusal (`invalid_value`)."""
    if given is None:
        return tuple(default)
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    unknown = [name for name in names if name not in allowed]
    if unknown or len(set(names)) != len(names):
        raise Refusal(
            Code.INVALID_VALUE,
            f"group_by {quoted(given)}: use some of {', '.join(allowed)}, each once.",
            "group_by",
        )
    return names


def _parsed(text: str, param: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if day < _EPOCH or len(text) != len("2026-11-22"):
        raise Refusal(
            Code.INVALID_VALUE, f"{param} {quoted(text)} is not a day such as 2026-11-22.", param
        )
    return day


def _day(number: int) -> date:
    return _EPOCH + timedelta(number)


# ---- an account's usage -------------------------------------------------------------------


@dataclass(slots=True)
class Item:
    """All charges of one price: `quantity` units, `amount_micro` in all."""

    item: str
    unit: str
    quantity: int = 0
    amount_micro: int = 0


@dataclass(slots=True)
class UsageRow:
    """What the tasks of one group were charged, item by item."""

    group: Group
    tasks: int = 0
    completed: int = 0
    charged_micro: int = 0
    items: dict[str, Item] = field(default_factory=dict)

    def add(self, completed: bool, bill: Bill, tasks: int) -> None:
        """Count some tasks that had the same bill."""
        self.tasks += tasks
        self.completed += tasks if completed else 0
        self.charged_micro += bill.total_micro * tasks
        for line in bill.lines:
            item = self.items.setdefault(line.item, Item(line.item, line.unit))
            item.quantity += line.quantity * tasks
            item.amount_micro += line.amount_micro * tasks


@dataclass(frozen=True, slots=True)
class Usage:
    """An account's charges of some days."""

    period: Period
    group_by: tuple[str, ...]
    rows: list[UsageRow]
    total: UsageRow


async def usage(
    gateway: Gateway, account_id: str, period: Period, group_by: Sequence[str]
) -> Usage:
    """What an account was charged; `group_by` from USAGE_GROUPS."""

    def read(tx: Reader) -> list[tuple[tuple[str | int, ...], bool, Bill, int]]:
        return reports.bills(tx, account_id, group_by, period.from_ms, period.until_ms)

    rows: dict[tuple[str | int, ...], UsageRow] = {}
    total = UsageRow({})
    for key, completed, bill, tasks in await gateway.db.read(read):
        row = rows.setdefault(key, UsageRow(_group(group_by, key)))
        row.add(completed, bill, tasks)
        total.add(completed, bill, tasks)
    shown = [rows[key] for key in sorted(rows)] if group_by else []
    return Usage(period, tuple(group_by), shown, total)


def _group(names: Sequence[str], values: Sequence[str | int]) -> Group:
    return {
        name: str(_day(value)) if isinstance(value, int) else value
        for name, value in zip(names, values, strict=True)
    }


# ---- the operator's report ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One group's sums; see `store.reports.Sums`."""

    group: Group
    sums: Sums

    @property
    def margin_ticks(self) -> int:
        """What is left of the charges, in ticks of 10^-10 USD."""
        taken = (self.sums.charged_micro - self.sums.loss_micro) * TICKS_PER_MICRO
        return taken - self.sums.cost_ticks


@dataclass(frozen=True, slots=True)
class Report:
    """All accounts' charges of some days beside what they cost; `open_now` is of this moment."""

    period: Period
    group_by: tuple[str, ...]
    rows: list[ReportRow]
    total: ReportRow
    open_now: Open


async def report(gateway: Gateway, period: Period, group_by: Sequence[str]) -> Report:
    """Revenue, upstream cost, margin and losses; `group_by` from REPORT_GROUPS."""

    def read(tx: Reader) -> tuple[list[tuple[tuple[str | int, ...], Sums]], Open]:
        found = reports.sums(tx, group_by, period.from_ms, period.until_ms)
        return found, reports.open_now(tx)

    found, open_now = await gateway.db.read(read)
    rows = [ReportRow(_group(group_by, key), sums) for key, sums in sorted(found, key=_by_group)]
    total = ReportRow({}, _total(row.sums for row in rows))
    return Report(period, tuple(group_by), rows if group_by else [], total, open_now)


def _by_group(row: tuple[tuple[str | int, ...], Sums]) -> tuple[str | int, ...]:
    return row[0]


def _total(parts: Iterable[Sums]) -> Sums:
    all_parts = list(parts)
    return Sums(*(sum(getattr(part, f.name) for part in all_parts) for f in fields(Sums)))


# ---- as tables ----------------------------------------------------------------------------

Table = list[list[str]]


def usage_table(found: Usage) -> Table:
    """A header and one line per row; for CSV and for people."""
    header = [*found.group_by, "tasks", "completed", "cost_usd", "items"]
    return [header] + [
        [
            *row.group.values(),
            str(row.tasks),
            str(row.completed),
            usd(row.charged_micro),
            "; ".join(
                f"{item.item}: {item.quantity} = {usd(item.amount_micro)}"
                for item in row.items.values()
            ),
        ]
        for row in (*found.rows, *([] if found.group_by else [found.total]))
    ]


def report_table(found: Report) -> Table:
    """A header and one line per row; without groups, the total is the only row."""
    header = [
        *found.group_by,
        "tasks",
        "completed",
        "outcome_unknown",
        "revenue_usd",
        "upstream_cost_usd",
        "wasted_usd",
        "losses_usd",
        "margin_usd",
        "cost_unknown",
    ]
    return [header] + [
        [
            *row.group.values(),
            str(row.sums.tasks),
            str(row.sums.completed),
            str(row.sums.outcome_unknown),
            usd(row.sums.charged_micro),
            usd_of_ticks(row.sums.cost_ticks),
            usd_of_ticks(row.sums.wasted_ticks),
            usd(row.sums.loss_micro),
            usd_of_ticks(row.margin_ticks),
            str(row.sums.cost_unknown),
        ]
        for row in (*found.rows, *([] if found.group_by else [found.total]))
    ]


def csv_text(table: Table) -> str:
    """A table as RFC 4180 has it."""
    out = io.StringIO()
    csv.writer(out).writerows(table)
    return out.getvalue()
