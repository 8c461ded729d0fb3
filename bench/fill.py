"""A database with a long past: ended tasks by the million, as if each had been lived.

Every row that a task leaves behind is there (moves, ledger, settlement, event), so the database
weighs what it would weigh and `check_world` finds nothing wrong with it.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from reelgate.domain.ids import new_id, new_task_id

_CHUNK = 10_000
_DAY_MS = 86_400_000
_PAST_DAYS = 30
_LIFE_MS = 45_000
_FAILED_EVERY = 5
_RESULT = (
    '{"key":"results/aa/gone.mp4","bytes":3000000,"sha256":"%064x","duration_ms":6000,'
    '"width":1280,"height":720,"frames":144}'
)
_BILL = '{"lines":[{"item":"video","quantity":1,"unit":"video","unit_price_micro":%d}]}'
_FAILURE = '{"code":"task_failed","message":"The upstream could not make this video."}'
_STEPS = ("queued", "sending", "running", "collecting", "completed")
_STEPS_FAILED = ("queued", "sending", "running", "failed")

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Life:
    """One ended task."""

    id: str
    created_ms: int
    failed: bool

    @property
    def ended_ms(self) -> int:
        return self.created_ms + _LIFE_MS

    @property
    def steps(self) -> Sequence[str]:
        return _STEPS_FAILED if self.failed else _STEPS


class Past:
    """Writes ended tasks of the account of a template: a queued task that was really made."""

    def __init__(self, path: Path, template_id: str) -> None:
        self._path = path
        self._db = apsw.Connection(str(path))
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("PRAGMA cache_size=-262144")
        columns = [row[1] for row in self._db.execute("PRAGMA table_info(task)")]
        values = self._db.execute("SELECT * FROM task WHERE id = ?", (template_id,)).get
        self._task: dict[str, Any] = dict(zip(columns, values, strict=True))
        self._held: int = self._task["held_micro"]
        account_id = self._task["account_id"]
        self._posted: int = self._db.execute(
            "SELECT posted_micro FROM account WHERE id = ?", (account_id,)
        ).get

    def write(self, count: int) -> list[str]:
        """So many tasks over the thirty days before the template; returns their ids."""
        first_ms = self._task["created_at_ms"] - _PAST_DAYS * _DAY_MS
        step_us = _PAST_DAYS * _DAY_MS * 1000 // count
        ids: list[str] = []
        for start in range(0, count, _CHUNK):
            numbers = range(start, min(start + _CHUNK, count))
            lives = [self._life(first_ms + n * step_us // 1000, n) for n in numbers]
            ids += [life.id for life in lives]
            with self._db:
                self._write_tasks(lives)
                self._write_money(lives)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        # Else the kernel would still be writing it out while the commits to be measured wait.
        with self._path.open("r+b") as file:
            os.fsync(file.fileno())
        return ids

    def _life(self, created_ms: int, number: int) -> _Life:
        return _Life(new_task_id(created_ms), created_ms, number % _FAILED_EVERY == 0)

    def _write_tasks(self, lives: list[_Life]) -> None:
        self._insert("task", self._task, (self._task_row(life) for life in lives))
        moves = ("task_id", "at_ms", "from_state", "to_state", "note")
        self._insert("move", moves, _moves(lives))
        event = ("id", "task_id", "type", "created_at_ms")
        self._insert("event", event, (_event(life) for life in lives))

    def _task_row(self, life: _Life) -> Row:
        own = {
            "id": life.id,
            "state": life.steps[-1],
            "epoch": 1,
            "revision": len(life.steps),
            "created_at_ms": life.created_ms,
            "due_at_ms": life.created_ms,
            "deadline_at_ms": life.created_ms + 1_800_000,
            "progress": 100,
            "order_digest": life.id[5:] * 2,
            "upstream": "xai",
            "upstream_ref": life.id[5:],
            "result_json": None if life.failed else _RESULT % life.created_ms,
            "failure_json": _FAILURE if life.failed else None,
            "bill_json": self._bill(life),
            "sent_at_ms": life.created_ms + 5,
            "ended_at_ms": life.ended_ms,
            "expires_at_ms": None if life.failed else life.ended_ms + 7 * _DAY_MS,
            # The bytes are gone, as they would be: a benchmark need not write terabytes.
            "purged_at_ms": life.ended_ms + 7 * _DAY_MS,
        }
        return tuple((self._task | own).values())

    def _bill(self, life: _Life) -> str:
        return '{"lines":[]}' if life.failed else _BILL % self._held

    def _write_money(self, lives: list[_Life]) -> None:
        entry = (
            "at_ms",
            "kind",
            "account_id",
            "task_id",
            "from_book",
            "to_book",
            "amount_micro",
            "available_after_micro",
            "held_after_micro",
        )
        before = self._posted
        self._insert("ledger", entry, self._entries(lives))
        account_id, key_id = self._task["account_id"], self._task["key_id"]
        self._insert("settlement", _SETTLEMENT, (self._settlement(life) for life in lives))
        self._db.execute(
            "UPDATE account SET posted_micro = ? WHERE id = ?", (self._posted, account_id)
        )
        self._db.execute(
            "INSERT INTO key_day (key_id, day, spent_micro, live) VALUES (?,?,?,0) "
            "ON CONFLICT DO UPDATE SET spent_micro = spent_micro + excluded.spent_micro",
            (key_id, lives[0].created_ms // _DAY_MS, before - self._posted),
        )

    def _entries(self, lives: list[_Life]) -> Iterator[Row]:
        account_id, held = self._task["account_id"], self._held
        for life in lives:
            free = self._posted - held
            yield (
                life.created_ms, "hold", account_id, life.id, "available", "held", held, free, held
            )  # fmt: skip
            kind, book, after = ("release", "available", self._posted)
            if not life.failed:
                self._posted = after = free
                kind, book = "capture", "revenue"
            yield life.ended_ms, kind, account_id, life.id, "held", book, held, after, 0

    def _settlement(self, life: _Life) -> Row:
        task, captured = self._task, 0 if life.failed else self._held
        return (
            life.id,
            task["account_id"],
            task["key_id"],
            task["model"],
            task["operation"],
            "xai",
            life.steps[-1],
            "task_failed" if life.failed else None,
            life.created_ms,
            life.ended_ms,
            self._held,
            captured,
            self._held - captured,
            0,
            self._bill(life),
        )

    def _insert(self, table: str, columns: Any, rows: Iterator[Row]) -> None:
        marks = ",".join("?" * len(columns))
        self._db.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})", rows)


_SETTLEMENT = (
    "task_id",
    "account_id",
    "key_id",
    "model",
    "operation",
    "upstream",
    "outcome",
    "error_code",
    "created_at_ms",
    "ended_at_ms",
    "held_micro",
    "captured_micro",
    "released_micro",
    "loss_micro",
    "bill_json",
)


def _moves(lives: list[_Life]) -> Iterator[Row]:
    for life in lives:
        for number, after in enumerate(life.steps[1:]):
            at_ms = life.created_ms + number * (_LIFE_MS // 4)
            yield life.id, at_ms, life.steps[number], after, ""


def _event(life: _Life) -> Row:
    kind = "video.failed" if life.failed else "video.completed"
    return new_id("evt", life.ended_ms), life.id, kind, life.ended_ms
