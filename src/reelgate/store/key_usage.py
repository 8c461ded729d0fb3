"""What each key spends and runs, so that its limits hold exactly and on every node."""

from dataclasses import dataclass
from datetime import date

from reelgate.store.database import Reader, Writer

_DAY_MS = 86_400_000
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a key has spent or holds, in micro-USD, and how many of its tasks live."""

    day_micro: int
    month_micro: int
    total_micro: int
    live: int


def day_of(at_ms: int) -> int:
    """The UTC day of a moment, counted from the epoch."""
    return at_ms // _DAY_MS


def first_day_of_month(day: int) -> int:
    """The first day of the month that `day` lies in, both counted from the epoch."""
    return day - date.fromordinal(_EPOCH_ORDINAL + day).day + 1


def add_task(tx: Writer, key_id: str, day: int, held_micro: int) -> None:
    """Count a new task and its hold."""
    tx.run(
        "INSERT INTO key_day (key_id, day, spent_micro, live) VALUES (?,?,?,1) "
        "ON CONFLICT (key_id, day) DO UPDATE SET "
        "spent_micro = key_day.spent_micro + excluded.spent_micro, live = key_day.live + 1",
        (key_id, day, held_micro),
    )


def add_hold(tx: Writer, key_id: str, day: int, more_micro: int) -> None:
    """A task's hold has grown."""
    tx.run(
        "UPDATE key_day SET spent_micro = spent_micro + ? WHERE key_id = ? AND day = ?",
        (more_micro, key_id, day),
    )


def end_task(tx: Writer, key_id: str, day: int, released_micro: int) -> None:
    """A task has ended and this much of its hold was given back."""
    tx.run(
        "UPDATE key_day SET spent_micro = spent_micro - ?, live = live - 1 "
        "WHERE key_id = ? AND day = ?",
        (released_micro, key_id, day),
    )


def usage(tx: Reader, family: str, day: int, first_day_of_month: int) -> Usage:
    """The usage of a key and of those it replaced, this transaction's own included."""
    row = tx.one(
        "SELECT COALESCE(SUM(CASE WHEN day = ? THEN spent_micro ELSE 0 END), 0), "
        "COALESCE(SUM(CASE WHEN day >= ? THEN spent_micro ELSE 0 END), 0), "
        "COALESCE(SUM(spent_micro), 0), COALESCE(SUM(live), 0) FROM key_day "
        "WHERE key_id IN (SELECT id FROM api_key WHERE id = ? OR family_id = ?)",
        (day, first_day_of_month, family, family),
    )
    return Usage(*(int(value) for value in row)) if row else Usage(0, 0, 0, 0)
