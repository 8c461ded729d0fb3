"""Sums over settlements and live tasks: what was charged, what it cost, what is still open."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from reelgate.domain.quote import Bill
from reelgate.store.database import Reader

# What sums may be grouped by, and how it is read off a settlement. A day is UTC, since the epoch.
GROUPS = {
    "day": "s.ended_at_ms / 86400000",
    "model": "s.model",
    "operation": "s.operation",
    "key": "s.key_id",
    "account": "s.account_id",
    "upstream": "COALESCE(s.upstream, '')",
}

# The three partial indexes of live tasks, so that ended ones are not looked at.
_LIVE = """
    SELECT upstream, state, held_micro FROM task WHERE lease_owner IS NOT NULL
    UNION ALL
    SELECT upstream, state, held_micro FROM task
    WHERE state <> 'queued' AND lease_owner IS NULL AND ended_at_ms IS NULL
    UNION ALL
    SELECT upstream, state, held_micro FROM task
    WHERE state = 'queued' AND lease_owner IS NULL AND ended_at_ms IS NULL
"""

_bill = msgspec.json.Decoder(Bill).decode


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over ended tasks. Charges and losses in micro-USD, upstream costs in raw ticks.

    `wasted_ticks` is the part of the cost that brought no video, `cost_unknown` counts videos
    whose upstream did not say what they cost.
    """

    tasks: int = 0
    completed: int = 0
    charged_micro: int = 0
    loss_micro: int = 0
    cost_ticks: int = 0
    wasted_ticks: int = 0
    cost_unknown: int = 0
    outcome_unknown: int = 0


@dataclass(frozen=True, slots=True)
class Recent:
    """How many tasks of an upstream ended, well and badly."""

    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Open:
    """What is not settled yet, and what customers own. Micro-USD."""

    live: int
    stranded: int
    stranded_micro: int
    held_micro: int
    available_micro: int


def sums(
    tx: Reader, groups: Sequence[str], from_ms: int, until_ms: int
) -> list[tuple[tuple[str | int, ...], Sums]]:
    """Sums of all that ended in this time, one for each combination of `groups` (see GROUPS)."""
    keys = "".join(f"{GROUPS[group]}, " for group in groups)
    width = len(groups)
    rows = tx.all(
        f"SELECT {keys}COUNT(*), SUM(CASE WHEN s.outcome = 'completed' THEN 1 ELSE 0 END), "
        "SUM(s.captured_micro), SUM(s.loss_micro), SUM(COALESCE(s.upstream_cost_ticks, 0)), "
        "SUM(CASE WHEN s.outcome = 'completed' THEN 0 ELSE COALESCE(s.upstream_cost_ticks, 0) END),"
        " SUM(CASE WHEN s.outcome = 'completed' AND s.upstream_cost_ticks IS NULL "
        "THEN 1 ELSE 0 END), "
        "SUM(CASE WHEN s.error_code = 'outcome_unknown' THEN 1 ELSE 0 END) "
        f"FROM settlement s WHERE s.ended_at_ms >= ? AND s.ended_at_ms < ?{_group_by(width)}",
        (from_ms, until_ms),
    )
    # Without groups there is a row even when there is nothing: all of it NULL.
    return [(row[:width], Sums(*(int(n or 0) for n in row[width:]))) for row in rows]


def bills(
    tx: Reader, account_id: str, groups: Sequence[str], from_ms: int, until_ms: int
) -> list[tuple[tuple[str | int, ...], bool, Bill, int]]:
    """(group, whether completed, bill, how many tasks had it) of an account in this time.

    A price list knows few different bills, so this is short however many tasks there were.
    """
    keys = "".join(f"{GROUPS[group]}, " for group in groups)
    width = len(groups) + 2
    rows = tx.all(
        f"SELECT {keys}CASE WHEN s.outcome = 'completed' THEN 1 ELSE 0 END, s.bill_json, COUNT(*) "
        "FROM settlement s WHERE s.account_id = ? AND s.ended_at_ms >= ? AND s.ended_at_ms < ?"
        f"{_group_by(width)}",
        (account_id, from_ms, until_ms),
    )
    nothing = Bill(())
    return [
        (row[: len(groups)], bool(row[-3]), _bill(row[-2]) if row[-2] else nothing, row[-1])
        for row in rows
    ]


def _group_by(width: int) -> str:
    return f" GROUP BY {', '.join(map(str, range(1, width + 1)))}" if width else ""


def open_now(tx: Reader) -> Open:
    """What is not settled at this moment."""
    live = tx.one(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN state = 'stranded' THEN 1 ELSE 0 END), 0), "
        "COALESCE(SUM(CASE WHEN state = 'stranded' THEN held_micro ELSE 0 END), 0) "
        f"FROM ({_LIVE}) live"
    )
    owned = tx.one(
        "SELECT COALESCE(SUM(held_micro), 0), COALESCE(SUM(posted_micro - held_micro), 0) "
        "FROM account"
    )
    return Open(*(int(n) for n in (*(live or (0, 0, 0)), *(owned or (0, 0)))))


def live_by_upstream(tx: Reader) -> dict[str, dict[str, int]]:
    """How many live tasks each upstream has, by state."""
    found: dict[str, dict[str, int]] = {}
    rows = tx.all(
        f"SELECT upstream, state, COUNT(*) FROM ({_LIVE}) live "
        "WHERE upstream IS NOT NULL GROUP BY 1, 2"
    )
    for upstream, state, count in rows:
        found.setdefault(upstream, {})[state] = count
    return found


def live_by_state(tx: Reader) -> dict[str, int]:
    """How many tasks have not ended, by state; as quick as they are few."""
    return dict(tx.all(f"SELECT state, COUNT(*) FROM ({_LIVE}) live GROUP BY 1"))


def recent(tx: Reader, since_ms: int) -> dict[str, Recent]:
    """How the tasks of each upstream ended since then."""
    rows = tx.all(
        "SELECT upstream, SUM(CASE WHEN outcome = 'completed' THEN 1 ELSE 0 END), COUNT(*) "
        "FROM settlement WHERE ended_at_ms >= ? AND upstream IS NOT NULL GROUP BY 1",
        (since_ms,),
    )
    return {name: Recent(int(completed), int(all_ - completed)) for name, completed, all_ in rows}
