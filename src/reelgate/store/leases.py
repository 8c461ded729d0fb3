"""Workers and their leases. One row covers all tasks of a worker."""

from collections.abc import Mapping

from reelgate.domain.lane import Lane
from reelgate.domain.task import Task
from reelgate.store import tasks
from reelgate.store.database import Reader, Writer


def register(tx: Writer, worker_id: str, now_ms: int, lease_until_ms: int) -> None:
    tx.run(
        "INSERT INTO worker (id, lease_until_ms, started_at_ms) VALUES (?,?,?)",
        (worker_id, lease_until_ms, now_ms),
    )


def renew(tx: Writer, worker_id: str, lease_until_ms: int) -> bool:
    """False when the worker was buried: its tasks may be somebody else's by now."""
    sql = "UPDATE worker SET lease_until_ms = ? WHERE id = ?"
    return tx.run(sql, (lease_until_ms, worker_id)) == 1


def lock(tx: Writer, worker_id: str) -> bool:
    """Keep a worker from being buried until this transaction ends; False when it was."""
    sql = "UPDATE worker SET lease_until_ms = lease_until_ms WHERE id = ?"
    return tx.run(sql, (worker_id,)) == 1


def sign_off(tx: Writer, worker_id: str) -> None:
    """A worker that stops in order hands its tasks back at once."""
    # In this order: a claim of its own that is still under way is waited for, then undone.
    tx.run("DELETE FROM worker WHERE id = ?", (worker_id,))
    tasks.free_leases_of(tx, worker_id)


def dead(tx: Reader, now_ms: int) -> list[str]:
    """Workers whose lease has run out."""
    rows = tx.all("SELECT id FROM worker WHERE lease_until_ms <= ?", (now_ms,))
    return [row[0] for row in rows]


def bury(tx: Writer, worker_id: str, now_ms: int) -> int:
    """Free the tasks of a worker that is still dead; returns how many."""
    gone = tx.run("DELETE FROM worker WHERE id = ? AND lease_until_ms <= ?", (worker_id, now_ms))
    return tasks.free_leases_of(tx, worker_id) if gone else 0


def claim(
    tx: Writer, worker_id: str, now_ms: int, *, room: int, sent: bool, quotas: Mapping[Lane, int]
) -> list[Task]:
    """Take up to `room` due tasks for a worker: first those that were `sent` before, then of each
    lane its quota. None when the worker was buried.

    What it then holds is in nobody's hands but its own until it is buried or signs off.
    """
    if not lock(tx, worker_id):
        return []
    claimed = tasks.claim(tx, worker_id, now_ms, room) if sent else []
    for lane, quota in quotas.items():
        limit = min(quota, room - len(claimed))
        if limit > 0:
            claimed += tasks.claim(tx, worker_id, now_ms, limit, lane=lane)
    return claimed


def bury_everyone(tx: Writer) -> None:
    """Free all tasks there are: for a database that has one worker, and it is new."""
    tx.run("DELETE FROM worker")
    tasks.free_leases(tx)


def everyone(tx: Reader) -> list[str]:
    return [row[0] for row in tx.all("SELECT id FROM worker")]
