"""Workers and their leases. One row covers all tasks of a worker."""

from reelgate.store import tasks
from reelgate.store.database import Reader, Writer


def register(tx: Writer, worker_id: str, now_ms: int, lease_until_ms: int) -> None:
    tx.run(
        "INSERT INTO worker (id, lease_until_ms, started_at_ms) VALUES (?,?,?)",
        (worker_id, lease_until_ms, now_ms),
    )


def renew(tx: Writer, worker_id: str, now_ms: int, lease_until_ms: int) -> bool:
    """False when the lease has run out: its tasks may be somebody else's by now."""
    return (
        tx.run(
            "UPDATE worker SET lease_until_ms = ? WHERE id = ? AND lease_until_ms > ?",
            (lease_until_ms, worker_id, now_ms),
        )
        == 1
    )


def sign_off(tx: Writer, worker_id: str) -> None:
    """A worker that stops in order hands its tasks back at once."""
    tasks.free_leases_of(tx, worker_id)
    tx.run("DELETE FROM worker WHERE id = ?", (worker_id,))


def dead(tx: Reader, now_ms: int) -> list[str]:
    """Workers whose lease has run out."""
    rows = tx.all("SELECT id FROM worker WHERE lease_until_ms <= ?", (now_ms,))
    return [row[0] for row in rows]


def bury(tx: Writer, worker_id: str, now_ms: int) -> int:
    """Free the tasks of a worker that is still dead; returns how many."""
    gone = tx.run("DELETE FROM worker WHERE id = ? AND lease_until_ms <= ?", (worker_id, now_ms))
    return tasks.free_leases_of(tx, worker_id) if gone else 0


def everyone(tx: Reader) -> list[str]:
    return [row[0] for row in tx.all("SELECT id FROM worker")]
