"""The books: an append-only ledger, and the two cached balances that must equal it.

Every function takes the money and writes the row that says so in the caller's transaction.

    credit    funding   -> available   the operator was paid
    adjust    available <-> funding    the operator's correction (or funding -> loss)
    hold      available -> held        at submit: the highest a task can cost
    capture   held      -> revenue     at the end: what was delivered
    release   held      -> available   at the end: the rest
"""

from dataclasses import dataclass

from reelgate.store.database import Reader, Row, Writer

AVAILABLE, HELD = "available", "held"
FUNDING, REVENUE, LOSS = "funding", "revenue", "loss"


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's money in micro-USD. `available` is what a new task may hold."""

    available_micro: int
    held_micro: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger row with the account's balances after it."""

    id: int
    at_ms: int
    kind: str
    task_id: str | None
    from_book: str
    to_book: str
    amount_micro: int
    available_after_micro: int
    held_after_micro: int
    reference: str | None
    note: str | None

    def change_of(self, book: str) -> int:
        """By how much this row changed one of the account's books, in micro-USD."""
        return self.amount_micro * ((self.to_book == book) - (self.from_book == book))


_ENTRY = (
    "id, at_ms, kind, task_id, from_book, to_book, amount_micro, available_after_micro, "
    "held_after_micro, reference, note"
)


def balance(tx: Reader, account_id: str) -> Balance | None:
    row = tx.one("SELECT posted_micro, held_micro FROM account WHERE id = ?", (account_id,))
    return Balance(row[0] - row[1], row[1]) if row else None


def lock_account(tx: Writer, account_id: str) -> None:
    """Make other transactions on this account wait for this one."""
    tx.run("UPDATE account SET held_micro = held_micro WHERE id = ?", (account_id,))


def credit(
    tx: Writer, account_id: str, amount_micro: int, now_ms: int, reference: str | None, note: str
) -> bool:
    """Add money; False when this reference was credited to this account before."""
    if reference is not None:
        lock_account(tx, account_id)
        if find_reference(tx, account_id, reference) is not None:
            return False
    after = tx.one(
        "UPDATE account SET posted_micro = posted_micro + ? WHERE id = ? "
        "RETURNING posted_micro, held_micro",
        (amount_micro, account_id),
    )
    _append(
        tx,
        "credit",
        account_id,
        None,
        FUNDING,
        AVAILABLE,
        amount_micro,
        now_ms,
        after,
        reference,
        note,
    )
    return True


def find_reference(tx: Reader, account_id: str, reference: str) -> int | None:
    """The amount that was credited under a reference."""
    row = tx.one(
        "SELECT amount_micro FROM ledger WHERE account_id = ? AND reference = ?",
        (account_id, reference),
    )
    return int(row[0]) if row else None


def adjust(tx: Writer, account_id: str, amount_micro: int, now_ms: int, note: str) -> bool:
    """The operator's correction, up or down; False when it would go below what is available."""
    after = tx.one(
        "UPDATE account SET posted_micro = posted_micro + ? "
        "WHERE id = ? AND posted_micro - held_micro + ? >= 0 RETURNING posted_micro, held_micro",
        (amount_micro, account_id, amount_micro),
    )
    if after is None:
        return False
    books = (FUNDING, AVAILABLE) if amount_micro >= 0 else (AVAILABLE, FUNDING)
    _append(tx, "adjust", account_id, None, *books, abs(amount_micro), now_ms, after, None, note)
    return True


def hold(tx: Writer, account_id: str, task_id: str, amount_micro: int, now_ms: int) -> bool:
    """Set money aside for a task; False when less than that is available."""
    after = tx.one(
        "UPDATE account SET held_micro = held_micro + ? "
        "WHERE id = ? AND posted_micro - held_micro >= ? RETURNING posted_micro, held_micro",
        (amount_micro, account_id, amount_micro),
    )
    if after is None:
        return False
    _append(tx, "hold", account_id, task_id, AVAILABLE, HELD, amount_micro, now_ms, after)
    return True


def close_hold(
    tx: Writer, account_id: str, task_id: str, captured: int, released: int, now_ms: int
) -> None:
    """End a task's hold: take what was delivered, give back the rest. Amounts in micro-USD."""
    after = tx.one(
        "UPDATE account SET posted_micro = posted_micro - ?, held_micro = held_micro - ? "
        "WHERE id = ? RETURNING posted_micro, held_micro",
        (captured, captured + released, account_id),
    )
    if after is None:
        raise LookupError(f"account {account_id} does not exist")
    if captured:
        between = (after[0], after[1] + released)
        _append(tx, "capture", account_id, task_id, HELD, REVENUE, captured, now_ms, between)
    if released:
        _append(tx, "release", account_id, task_id, HELD, AVAILABLE, released, now_ms, after)


def book_loss(tx: Writer, task_id: str, amount_micro: int, now_ms: int, note: str) -> None:
    """What an upstream may have charged the operator for nothing delivered."""
    _append(tx, "adjust", None, task_id, FUNDING, LOSS, amount_micro, now_ms, None, None, note)


def statement(
    tx: Reader,
    account_id: str,
    *,
    after_id: int | None,
    limit: int,
    newest_first: bool = True,
    task_id: str | None = None,
) -> list[Entry]:
    """An account's entries, beginning behind `after_id`; of one of its tasks only, if given."""
    way, sign = ("DESC", "<") if newest_first else ("ASC", ">")
    conditions = {"account_id = ?": account_id, "task_id = ?": task_id, f"id {sign} ?": after_id}
    given = {text: value for text, value in conditions.items() if value is not None}
    rows = tx.all(
        f"SELECT {_ENTRY} FROM ledger WHERE {' AND '.join(given)} ORDER BY id {way} LIMIT ?",
        (*given.values(), limit),
    )
    return [Entry(*row) for row in rows]


def of_task(tx: Reader, task_id: str) -> list[Entry]:
    """Every entry that names a task, oldest first."""
    rows = tx.all(f"SELECT {_ENTRY} FROM ledger WHERE task_id = ? ORDER BY id", (task_id,))
    return [Entry(*row) for row in rows]


def _append(
    tx: Writer,
    kind: str,
    account_id: str | None,
    task_id: str | None,
    from_book: str,
    to_book: str,
    amount_micro: int,
    now_ms: int,
    after: Row | None,
    reference: str | None = None,
    note: str | None = None,
) -> None:
    available, held = (after[0] - after[1], after[1]) if after else (None, None)
    tx.run(
        "INSERT INTO ledger (at_ms, kind, account_id, task_id, from_book, to_book, amount_micro, "
        "available_after_micro, held_after_micro, reference, note) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (
            now_ms,
            kind,
            account_id,
            task_id,
            from_book,
            to_book,
            amount_micro,
            available,
            held,
            reference,
            note,
        ),
    )
