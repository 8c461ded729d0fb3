"""Statements about tasks. Every change names the state and epoch it starts from."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from reelgate.domain.errors import TaskError
from reelgate.domain.lane import Lane
from reelgate.domain.order import Order, SourceFacts
from reelgate.domain.quote import Bill, Terms
from reelgate.domain.task import Failure, Result, State, Task, may_move
from reelgate.store.database import Reader, Row, Writer

RETRY_WINDOW_MS = 600_000
_IDS_MAX = 10_000  # both databases have a limit on the parameters of one statement


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _json_or_none(value: Any) -> str | None:
    return None if value is None else _encode(value)


_order = msgspec.json.Decoder(Order).decode
_terms = msgspec.json.Decoder(Terms).decode
_source = msgspec.json.Decoder(SourceFacts).decode
_result = msgspec.json.Decoder(Result).decode
_bill = msgspec.json.Decoder(Bill).decode
_failure = msgspec.json.Decoder(Failure).decode

# Task fields in the order of the columns; those stored as JSON have a column of another name.
_COLUMNS = (
    "id, account_id, key_id, model, operation, state, epoch, revision, created_at_ms, due_at_ms, "
    "deadline_at_ms, held_micro, progress, attempts, order_json, terms_json, lease_owner, "
    "upstream, upstream_ref, upstream_cost_ticks, result_url, source_json, result_json, "
    "bill_json, failure_json, sent_at_ms, ended_at_ms, expires_at_ms, deleted_at_ms, "
    "purged_at_ms, request_id"
)
_STATES = {state.value: state for state in State}
_JSON_COLUMNS: dict[str, str] = {
    "source": "source_json",
    "result": "result_json",
    "bill": "bill_json",
    "failure": "failure_json",
}


_OPTIONAL_JSON: tuple[tuple[int, Callable[[str], Any]], ...] = (
    (21, _source),
    (22, _result),
    (23, _bill),
    (24, _failure),
)


def _from_row(row: Row) -> Task:
    fields = list(row)
    fields[5] = _STATES[row[5]]
    fields[14] = _order(row[14])
    fields[15] = _terms(row[15])
    for at, decode in _OPTIONAL_JSON:
        if row[at] is not None:
            fields[at] = decode(row[at])
    return Task(*fields)


def insert(tx: Writer, task: Task, order_digest: str) -> None:
    """A new task, `queued`."""
    tx.run(
        "INSERT INTO task (id, account_id, key_id, model, operation, lane, state, created_at_ms, "
        "due_at_ms, deadline_at_ms, held_micro, order_json, terms_json, order_digest, source_json, "
        "request_id) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            task.id,
            task.account_id,
            task.key_id,
            task.model,
            task.operation,
            str(task.lane),
            task.state.value,
            task.created_at_ms,
            task.due_at_ms,
            task.deadline_at_ms,
            task.held_micro,
            _encode(task.order),
            _encode(task.terms),
            order_digest,
            _json_or_none(task.source),
            task.request_id,
        ),
    )


_GET = f"SELECT {_COLUMNS} FROM task WHERE id = ?"
_GET_OF_ACCOUNT = f"{_GET} AND account_id = ?"


def get(tx: Reader, task_id: str) -> Task | None:
    """Any task, whoever owns it: for the worker and the operator."""
    row = tx.one(_GET, (task_id,))
    return _from_row(row) if row else None


def get_of_account(tx: Reader, account_id: str, task_id: str) -> Task | None:
    """A task of this account; None for unknown and foreign ones alike."""
    row = tx.one(_GET_OF_ACCOUNT, (task_id, account_id))
    return _from_row(row) if row else None


def revision(tx: Reader, account_id: str, task_id: str) -> int | None:
    """How often a task of this account has changed: the cheapest question about it."""
    row = tx.one("SELECT revision FROM task WHERE id = ? AND account_id = ?", (task_id, account_id))
    return row[0] if row else None


def find_repeat(tx: Reader, account_id: str, order_digest: str, now_ms: int) -> Task | None:
    """The newest task of this account with this order made within `RETRY_WINDOW_MS`."""
    bucket = now_ms // RETRY_WINDOW_MS
    row = tx.one(
        f"SELECT {_COLUMNS} FROM task WHERE (created_at_ms / 600000) IN (?, ?) "
        "AND order_digest = ? AND account_id = ? AND created_at_ms >= ? AND deleted_at_ms IS NULL "
        "ORDER BY id DESC LIMIT 1",
        (bucket, bucket - 1, order_digest, account_id, now_ms - RETRY_WINDOW_MS),
    )
    return _from_row(row) if row else None


def page(
    tx: Reader,
    account_id: str | None,
    *,
    after: str | None,
    limit: int,
    newest_first: bool,
    state: State | None = None,
    upstream_ref: str | None = None,
) -> list[Task]:
    """Tasks in the order of their ids, beginning behind `after`; all accounts when None."""
    way, sign = ("DESC", "<") if newest_first else ("ASC", ">")
    where, params = ["deleted_at_ms IS NULL"], list[Any]()
    if state is not None:
        # Written out, so that the index of the stranded is found.
        where.append(f"state = '{state.value}'")
    if upstream_ref is not None:
        where.append("upstream_ref = ?")
        params.append(upstream_ref)
    if account_id is not None:
        where.append("account_id = ?")
        params.append(account_id)
    if after is not None:
        where.append(f"id {sign} ?")
        params.append(after)
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM task WHERE {' AND '.join(where)} ORDER BY id {way} LIMIT ?",
        (*params, limit),
    )
    return [_from_row(row) for row in rows]


def revisions(tx: Reader, task_ids: Sequence[str]) -> dict[str, int]:
    """The revision of each task: few statements for any number of waiters."""
    found: dict[str, int] = {}
    for at in range(0, len(task_ids), _IDS_MAX):
        ids = task_ids[at : at + _IDS_MAX]
        marks = ",".join("?" * len(ids))
        found.update(tx.all(f"SELECT id, revision FROM task WHERE id IN ({marks})", ids))
    return found


# ---- leases -------------------------------------------------------------------------------

_UNSENT = "state = 'queued' AND lease_owner IS NULL AND ended_at_ms IS NULL"


def waiting(tx: Reader, now_ms: int) -> tuple[bool, list[str]]:
    """What no worker has: whether a task is due that was sent before; the lanes of those that
    were not.
    """
    sent = tx.one(
        "SELECT 1 FROM task WHERE lease_owner IS NULL AND ended_at_ms IS NULL "
        "AND state <> 'queued' AND due_at_ms <= ? LIMIT 1",
        (now_ms,),
    )
    # From each lane straight to the next one: as many steps as lanes, however long the queue is.
    lanes = tx.all(
        "WITH RECURSIVE step (lane) AS ("
        f"SELECT MIN(lane) FROM task WHERE {_UNSENT} UNION ALL "
        f"SELECT (SELECT MIN(lane) FROM task WHERE {_UNSENT} AND lane > step.lane) "
        "FROM step WHERE step.lane IS NOT NULL) "
        "SELECT lane FROM step WHERE lane IS NOT NULL"
    )
    return sent is not None, [row[0] for row in lanes]


def claim(
    tx: Writer, worker_id: str, now_ms: int, limit: int, *, lane: Lane | None = None
) -> list[Task]:
    """Take up to `limit` due tasks that no worker has, the oldest first; each gets a new epoch.

    Those that were never sent are claimed by their lane, with None those that were sent.
    """
    which = "state <> 'queued'" if lane is None else "state = 'queued' AND lane = ?"
    rows = tx.all(
        "UPDATE task SET lease_owner = ?, epoch = epoch + 1 WHERE id IN ("
        f"SELECT id FROM task WHERE lease_owner IS NULL AND ended_at_ms IS NULL AND {which} "
        f"AND due_at_ms <= ? ORDER BY due_at_ms LIMIT ? {tx.skip_locked}) RETURNING {_COLUMNS}",
        (worker_id, *([] if lane is None else [str(lane)]), now_ms, limit),
    )
    return [_from_row(row) for row in rows]


def put_back(tx: Writer, task: Task) -> bool:
    """Let go of a task that waits for a place upstream: it keeps its place in the queue."""
    return (
        tx.run(
            "UPDATE task SET lease_owner = NULL, lane = ? WHERE id = ? AND state = ? AND epoch = ?",
            (str(task.lane), task.id, task.state.value, task.epoch),
        )
        == 1
    )


def overdue(tx: Reader, now_ms: int, limit: int) -> list[Task]:
    """Tasks past their deadline that were never sent and that no worker has."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM task WHERE {_UNSENT} AND deadline_at_ms <= ? LIMIT ?",
        (now_ms, limit),
    )
    return [_from_row(row) for row in rows]


def free_leases_of(tx: Writer, worker_id: str) -> int:
    """Make a worker's tasks claimable again; returns how many. It can write to none of them."""
    return tx.run(
        "UPDATE task SET lease_owner = NULL, epoch = epoch + 1 WHERE lease_owner = ?",
        (worker_id,),
    )


def free_leases(tx: Writer) -> int:
    """Make every task claimable again, whoever had it; returns how many."""
    return tx.run(
        "UPDATE task SET lease_owner = NULL, epoch = epoch + 1 WHERE lease_owner IS NOT NULL"
    )


def leased_by(tx: Reader, worker_id: str) -> set[str]:
    """The ids of the tasks that a worker has."""
    rows = tx.all("SELECT id FROM task WHERE lease_owner = ?", (worker_id,))
    return {row[0] for row in rows}


def let_go(tx: Writer, worker_id: str, task_ids: Sequence[str]) -> int:
    """Make some of a worker's tasks claimable again; returns how many."""
    marks = ",".join("?" * len(task_ids))
    return tx.run(
        "UPDATE task SET lease_owner = NULL, epoch = epoch + 1 "
        f"WHERE lease_owner = ? AND id IN ({marks})",
        (worker_id, *task_ids),
    )


# ---- changes ------------------------------------------------------------------------------


@functools.cache
def _update_sql(columns: tuple[str, ...]) -> str:
    sets = "".join(f", {column} = ?" for column in columns)
    return (
        f"UPDATE task SET state = ?, revision = revision + 1{sets} "
        "WHERE id = ? AND state = ? AND epoch = ? RETURNING held_micro"
    )


def _guarded_update(tx: Writer, task: Task, after: State, changes: dict[str, Any]) -> Task | None:
    columns = tuple(_JSON_COLUMNS.get(name, name) for name in changes)
    values = [
        _json_or_none(value) if name in _JSON_COLUMNS else value for name, value in changes.items()
    ]
    row = tx.one(
        _update_sql(columns),
        (after.value, *values, task.id, task.state.value, task.epoch),
    )
    if row is None:
        return None
    # The hold may have grown since the caller looked, under the same state and epoch.
    changes = {**changes, "held_micro": row[0]}
    return replace(task, state=after, revision=task.revision + 1, **changes)


def move(
    tx: Writer, task: Task, after: State, now_ms: int, note: str = "", **changes: Any
) -> Task | None:
    """Move a task and record it; None when it is no longer where, or whose, the caller thinks."""
    if not may_move(task.state, after):
        raise ValueError(f"{task.state} -> {after} is not a legal move")
    moved = _guarded_update(tx, task, after, changes)
    if moved is not None:
        tx.run(
            "INSERT INTO move (task_id, at_ms, from_state, to_state, note) VALUES (?,?,?,?,?)",
            (task.id, now_ms, task.state.value, after.value, note),
        )
        if after is State.QUEUED:
            tx.run("UPDATE task SET lane = ? WHERE id = ?", (str(moved.lane), task.id))
    return moved


def note_change(tx: Writer, task: Task, **changes: Any) -> Task | None:
    """Change fields without a move; None when the task is not the caller's any more."""
    return _guarded_update(tx, task, task.state, changes)


def history(tx: Reader, task_id: str) -> list[tuple[int, str, str, str]]:
    """(at_ms, from, to, note) of every move, oldest first."""
    rows = tx.all(
        "SELECT at_ms, from_state, to_state, note FROM move WHERE task_id = ? ORDER BY id",
        (task_id,),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def mark_deleted(tx: Writer, task_id: str, now_ms: int) -> bool:
    """Hide an ended task; its bytes are the caller's to remove."""
    return (
        tx.run(
            "UPDATE task SET deleted_at_ms = ?, revision = revision + 1 "
            "WHERE id = ? AND ended_at_ms IS NOT NULL AND deleted_at_ms IS NULL",
            (now_ms, task_id),
        )
        == 1
    )


def mark_purged(tx: Writer, task_id: str, now_ms: int) -> None:
    """The bytes of an ended task are gone."""
    tx.run("UPDATE task SET purged_at_ms = ? WHERE id = ?", (now_ms, task_id))


def to_purge(tx: Reader, now_ms: int, limit: int) -> list[Task]:
    """Ended tasks whose bytes are past their time."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM task WHERE expires_at_ms IS NOT NULL AND purged_at_ms IS NULL "
        "AND expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?",
        (now_ms, limit),
    )
    return [_from_row(row) for row in rows]


def stranded(tx: Reader, limit: int = 1000) -> list[Task]:
    """Tasks whose upstream submit has an unknown outcome, the most urgent first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM task WHERE state = 'stranded' ORDER BY deadline_at_ms LIMIT ?",
        (limit,),
    )
    return [_from_row(row) for row in rows]


def each_completed(tx: Reader, visit: Callable[[Task], None], *, chunk: int = 500) -> None:
    """Visit every completed task whose bytes should exist, in the order of ids."""
    after = ""
    while True:
        rows = tx.all(
            f"SELECT {_COLUMNS} FROM task WHERE state = 'completed' AND purged_at_ms IS NULL "
            "AND deleted_at_ms IS NULL AND id > ? ORDER BY id LIMIT ?",
            (after, chunk),
        )
        if not rows:
            return
        for row in rows:
            visit(_from_row(row))
        after = rows[-1][0]


def failure(code: TaskError, message: str) -> Failure:
    """A failure with its message cut to what a row and an answer should carry."""
    return Failure(code, message[:1000])
