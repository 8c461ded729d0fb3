"""What every field of an account's money answers means: balance (`wire.py`), usage, ledger.

Amounts are decimal strings of USD, times whole seconds since the epoch, days are UTC.
"""

from typing import Literal

import msgspec

from reelgate.domain.money import usd
from reelgate.flows import reports
from reelgate.store import ledger
from reelgate.store.ledger import AVAILABLE, HELD

ENTRY_PREFIX = "entry_"
_MS_PER_SECOND = 1000


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the statement: how it changed what is available and held, and both after it.

    `kind` is `credit`, `adjust`, `hold`, `capture` (charged) or `release` (given back).
    """

    id: str
    object: Literal["ledger.entry"] = "ledger.entry"
    created_at: int
    kind: str
    amount: str
    available_change: str
    held_change: str
    available: str
    held: str
    task_id: str | None
    reference: str | None
    note: str | None


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the statement; the next one is asked for with `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[LedgerEntry]
    first_id: str | None
    last_id: str | None
    has_more: bool


class UsageItem(msgspec.Struct, frozen=True):
    """All charges of one price: `amount` is what `quantity` units came to."""

    item: str
    quantity: int
    unit: str
    amount: str


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the tasks of one group were charged; null where it was not grouped by."""

    day: str | None
    model: str | None
    operation: str | None
    key: str | None
    tasks: int
    completed: int
    cost: str
    items: list[UsageItem]


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Charges of tasks that ended from the first to the last day, both included."""

    object: Literal["usage"] = "usage"
    currency: Literal["USD"] = "USD"
    first_day: str = msgspec.field(name="from")
    last_day: str = msgspec.field(name="to")
    group_by: tuple[str, ...]
    data: list[UsageRow]
    total: UsageRow


def ledger_page(entries: list[ledger.Entry], *, has_more: bool) -> LedgerPage:
    """Entries as one page."""
    data = [_entry(entry) for entry in entries]
    return LedgerPage(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=has_more,
    )


def _entry(entry: ledger.Entry) -> LedgerEntry:
    return LedgerEntry(
        id=f"{ENTRY_PREFIX}{entry.id}",
        created_at=entry.at_ms // _MS_PER_SECOND,
        kind=entry.kind,
        amount=usd(entry.amount_micro),
        available_change=usd(entry.change_of(AVAILABLE)),
        held_change=usd(entry.change_of(HELD)),
        available=usd(entry.available_after_micro),
        held=usd(entry.held_after_micro),
        task_id=entry.task_id,
        reference=entry.reference,
        note=entry.note or None,
    )


def usage(found: reports.Usage) -> UsageReport:
    """An account's usage."""
    return UsageReport(
        first_day=str(found.period.first),
        last_day=str(found.period.last),
        group_by=found.group_by,
        data=[_usage_row(row) for row in found.rows],
        total=_usage_row(found.total),
    )


def _usage_row(row: reports.UsageRow) -> UsageRow:
    return UsageRow(
        day=row.group.get("day"),
        model=row.group.get("model"),
        operation=row.group.get("operation"),
        key=row.group.get("key"),
        tasks=row.tasks,
        completed=row.completed,
        cost=usd(row.charged_micro),
        items=[
            UsageItem(item.item, item.quantity, item.unit, usd(item.amount_micro))
            for item in row.items.values()
        ],
    )
