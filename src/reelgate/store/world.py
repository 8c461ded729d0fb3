"""The invariants of the books (design, section 5), as statements that find what breaks them."""

import msgspec

from reelgate.domain.task import Result
from reelgate.store.database import Reader

_result = msgspec.json.Decoder(Result).decode

_SHOWN_MAX = 20

# (what is wrong, a SELECT of the ids of what breaks it)
_CHECKS: tuple[tuple[str, str], ...] = (
    (
        "an account's cached balances differ from its ledger",
        """
        SELECT a.id FROM account a LEFT JOIN (
            SELECT account_id,
                SUM(CASE WHEN to_book IN ('available', 'held') THEN amount_micro ELSE 0 END)
                - SUM(CASE WHEN from_book IN ('available', 'held') THEN amount_micro ELSE 0 END)
                AS posted,
                SUM(CASE WHEN to_book = 'held' THEN amount_micro ELSE 0 END)
                - SUM(CASE WHEN from_book = 'held' THEN amount_micro ELSE 0 END) AS held
            FROM ledger GROUP BY account_id
        ) l ON l.account_id = a.id
        WHERE a.posted_micro <> COALESCE(l.posted, 0) OR a.held_micro <> COALESCE(l.held, 0)
        """,
    ),
    (
        "an account is below zero",
        "SELECT id FROM account WHERE posted_micro - held_micro < 0 OR held_micro < 0",
    ),
    (
        "a ledger entry moves between books that do not exist",
        """
        SELECT CAST(id AS TEXT) FROM ledger
        WHERE from_book NOT IN ('available', 'held', 'funding', 'revenue', 'loss')
           OR to_book NOT IN ('available', 'held', 'funding', 'revenue', 'loss')
        """,
    ),
    (
        "an ended task has no settlement",
        """
        SELECT t.id FROM task t LEFT JOIN settlement s ON s.task_id = t.id
        WHERE t.ended_at_ms IS NOT NULL AND s.task_id IS NULL
        """,
    ),
    (
        "a live task has a settlement",
        """
        SELECT t.id FROM task t JOIN settlement s ON s.task_id = t.id
        WHERE t.ended_at_ms IS NULL
        """,
    ),
    (
        "a task's state and its end disagree",
        """
        SELECT id FROM task WHERE (ended_at_ms IS NOT NULL)
            <> (state IN ('completed', 'failed', 'cancelled', 'expired'))
        """,
    ),
    (
        "a task's hold in the ledger is not what it should be",
        """
        SELECT t.id FROM task t LEFT JOIN (
            SELECT task_id,
                SUM(CASE WHEN to_book = 'held' THEN amount_micro ELSE 0 END)
                - SUM(CASE WHEN from_book = 'held' THEN amount_micro ELSE 0 END) AS held
            FROM ledger WHERE task_id IS NOT NULL GROUP BY task_id
        ) l ON l.task_id = t.id
        WHERE COALESCE(l.held, 0)
            <> CASE WHEN t.ended_at_ms IS NULL THEN t.held_micro ELSE 0 END
        """,
    ),
    (
        "a task is leased to a worker that does not exist",
        """
        SELECT t.id FROM task t LEFT JOIN worker w ON w.id = t.lease_owner
        WHERE t.lease_owner IS NOT NULL AND w.id IS NULL
        """,
    ),
    (
        "a hold has no task",
        """
        SELECT l.task_id FROM ledger l LEFT JOIN task t ON t.id = l.task_id
        WHERE l.kind = 'hold' AND t.id IS NULL
        """,
    ),
    (
        "a settlement's capture is not in the ledger",
        """
        SELECT s.task_id FROM settlement s LEFT JOIN (
            SELECT task_id, SUM(amount_micro) AS captured FROM ledger
            WHERE kind = 'capture' GROUP BY task_id
        ) l ON l.task_id = s.task_id
        WHERE COALESCE(l.captured, 0) <> s.captured_micro
        """,
    ),
    (
        "a settlement's loss is not in the ledger",
        """
        SELECT s.task_id FROM settlement s LEFT JOIN (
            SELECT task_id, SUM(amount_micro) AS lost FROM ledger
            WHERE to_book = 'loss' GROUP BY task_id
        ) l ON l.task_id = s.task_id
        WHERE COALESCE(l.lost, 0) <> s.loss_micro
        """,
    ),
    (
        "a settlement's bill is not that of its task",
        """
        SELECT s.task_id FROM settlement s JOIN task t ON t.id = s.task_id
        WHERE COALESCE(s.bill_json, '') <> COALESCE(t.bill_json, '')
        """,
    ),
    (
        "an ended task has no event, or a live one has",
        """
        SELECT t.id FROM task t LEFT JOIN event e ON e.task_id = t.id
        WHERE (t.ended_at_ms IS NOT NULL) <> (e.task_id IS NOT NULL)
        """,
    ),
    (
        "a completed task has no result",
        "SELECT id FROM task WHERE state = 'completed' AND result_json IS NULL",
    ),
    (
        "a task without a video was charged",
        """
        SELECT t.id FROM task t JOIN settlement s ON s.task_id = t.id
        WHERE t.state <> 'completed' AND s.captured_micro <> 0
        """,
    ),
    (
        "a task was sent to an upstream more than once without the first being refused",
        """
        SELECT m.task_id FROM move m WHERE m.to_state = 'sending' GROUP BY m.task_id
        HAVING COUNT(*) > 1 + (
            SELECT COUNT(*) FROM move b WHERE b.task_id = m.task_id
            AND b.from_state IN ('sending', 'stranded') AND b.to_state = 'queued')
        """,
    ),
    (
        "a key's count of its tasks differs from them",
        """
        SELECT k.key_id FROM (
            SELECT key_id, SUM(live) AS live, SUM(spent_micro) AS spent
            FROM key_day GROUP BY key_id
        ) k LEFT JOIN (
            SELECT t.key_id,
                SUM(CASE WHEN t.ended_at_ms IS NULL THEN 1 ELSE 0 END) AS live,
                SUM(CASE WHEN t.ended_at_ms IS NULL THEN t.held_micro
                    ELSE COALESCE(s.captured_micro, 0) END) AS spent
            FROM task t LEFT JOIN settlement s ON s.task_id = t.id GROUP BY t.key_id
        ) r ON r.key_id = k.key_id
        WHERE k.live <> COALESCE(r.live, 0) OR k.spent <> COALESCE(r.spent, 0)
        """,
    ),
)


def answers(tx: Reader) -> bool:
    """Whether the database answers at all."""
    return tx.one("SELECT 1") is not None


def check_books(tx: Reader) -> list[str]:
    """Every broken invariant of the database, in words."""
    broken = []
    for what, sql in _CHECKS:
        ids = sorted({str(row[0]) for row in tx.all(sql)})
        if ids:
            more = f" and {len(ids) - _SHOWN_MAX} more" if len(ids) > _SHOWN_MAX else ""
            broken.append(f"{what}: {', '.join(ids[:_SHOWN_MAX])}{more}")
    return broken


def kept_results(tx: Reader, gone_since_ms: int) -> set[str]:
    """The media keys, without their suffix, of all results that may exist: those that are kept,
    and those whose time was over or that were deleted not long ago.
    """
    rows = tx.all(
        "SELECT result_json FROM task WHERE state = 'completed' AND result_json IS NOT NULL "
        "AND COALESCE(purged_at_ms, deleted_at_ms, ?) >= ?",
        (gone_since_ms, gone_since_ms),
    )
    return {_result(row[0]).key.rpartition(".")[0] for row in rows}
