"""Idempotency keys: the first task that a key made, and of which order."""

from dataclasses import dataclass

from reelgate.store.database import Reader, Writer


@dataclass(frozen=True, slots=True)
class Claimed:
    """What an idempotency key already stands for."""

    order_digest: str
    task_id: str


def claim(
    tx: Writer, account_id: str, key: str, order_digest: str, task_id: str, now_ms: int
) -> Claimed | None:
    """Tie a key to a task; or say what it is tied to. Waits for a rival that is not done yet."""
    inserted = tx.run(
        "INSERT INTO idempotency (account_id, idempotency_key, order_digest, task_id, "
        "created_at_ms) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING",
        (account_id, key, order_digest, task_id, now_ms),
    )
    return None if inserted else find(tx, account_id, key)


def find(tx: Reader, account_id: str, key: str) -> Claimed | None:
    row = tx.one(
        "SELECT order_digest, task_id FROM idempotency "
        "WHERE account_id = ? AND idempotency_key = ?",
        (account_id, key),
    )
    return Claimed(row[0], row[1]) if row else None


def forget_older(tx: Writer, before_ms: int, limit: int) -> int:
    """Drop up to `limit` keys past their time; returns how many."""
    return tx.run(
        "DELETE FROM idempotency WHERE (account_id, idempotency_key) IN ("
        "SELECT account_id, idempotency_key FROM idempotency WHERE created_at_ms < ? LIMIT ?)",
        (before_ms, limit),
    )
