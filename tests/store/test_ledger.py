"""The books: what may be taken, what is written of it, and that nobody edits it afterwards."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from reelgate.store import ledger
from reelgate.store.database import ConstraintBroken, Database, Writer
from tests.store.conftest import NOW_MS, Customer, new_customer

USD = 1_000_000


async def customer(db: Database, credit_micro: int = USD) -> Customer:
    return await db.write(partial(new_customer, credit_micro=credit_micro))


async def balance(db: Database, who: Customer) -> tuple[int, int]:
    found = await db.read(partial(ledger.balance, account_id=who.id))
    assert found is not None
    return found.available_micro, found.held_micro


async def rows(db: Database, who: Customer) -> list[tuple[str, int, int | None, int | None]]:
    """(kind, amount, available after, held after), oldest first."""
    found = await db.read(partial(ledger.statement, account_id=who.id, after_id=None, limit=100))
    return [
        (row.kind, row.amount_micro, row.available_after_micro, row.held_after_micro)
        for row in reversed(found)
    ]


async def test_hold_capture_and_release_leave_a_readable_statement(db: Database) -> None:
    who = await customer(db)

    def life(tx: Writer) -> None:
        assert ledger.hold(tx, who.id, "task_a", 400_000, NOW_MS)
        ledger.close_hold(tx, who.id, "task_a", 150_000, 250_000, NOW_MS)

    await db.write(life)
    assert await rows(db, who) == [
        ("credit", USD, USD, 0),
        ("hold", 400_000, 600_000, 400_000),
        ("capture", 150_000, 600_000, 250_000),
        ("release", 250_000, 850_000, 0),
    ]
    assert await balance(db, who) == (850_000, 0)


@pytest.mark.parametrize("more", [0, 1, USD])
async def test_no_more_is_held_than_is_there(db: Database, more: int) -> None:
    who = await customer(db)
    held = await db.write(
        partial(ledger.hold, account_id=who.id, task_id="t", amount_micro=USD + more, now_ms=NOW_MS)
    )
    assert held is (more == 0)
    assert await balance(db, who) == ((0, USD) if held else (USD, 0))


async def test_of_many_holds_at_once_only_those_that_fit_are_made(db: Database) -> None:
    who = await customer(db)
    holds = [
        partial(ledger.hold, account_id=who.id, task_id=f"t{n}", amount_micro=30_000, now_ms=NOW_MS)
        for n in range(100)
    ]
    made = await asyncio.gather(*(db.write(hold) for hold in holds))
    assert sum(made) == 33
    assert await balance(db, who) == (USD - 33 * 30_000, 33 * 30_000)


async def test_a_reference_is_credited_once_even_by_many_at_once(db: Database) -> None:
    who = await customer(db, 0)
    credit = partial(
        ledger.credit,
        account_id=who.id,
        amount_micro=5,
        now_ms=NOW_MS,
        reference="invoice 1",
        note="",
    )
    made = await asyncio.gather(*(db.write(credit) for _ in range(20)))
    assert sum(made) == 1
    assert await balance(db, who) == (5, 0)
    found = await db.read(partial(ledger.find_reference, account_id=who.id, reference="invoice 1"))
    assert found == 5


async def test_corrections_go_both_ways_but_never_below_what_is_available(db: Database) -> None:
    who = await customer(db)
    adjust = partial(ledger.adjust, account_id=who.id, now_ms=NOW_MS, note="")
    assert await db.write(partial(adjust, amount_micro=500))
    assert await db.write(partial(adjust, amount_micro=-USD))
    assert not await db.write(partial(adjust, amount_micro=-501))
    assert await balance(db, who) == (500, 0)


async def test_the_database_itself_refuses_what_would_go_below_zero(db: Database) -> None:
    who = await customer(db)

    def take_too_much(tx: Writer) -> None:
        ledger.close_hold(tx, who.id, "task", 1, 0, NOW_MS)

    with pytest.raises(ConstraintBroken):
        await db.write(take_too_much)
    assert await balance(db, who) == (USD, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET amount_micro = 1",
        "DELETE FROM ledger",
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
    ],
)
async def test_what_was_written_can_not_be_edited(db: Database, statement: str) -> None:
    who = await customer(db)

    def note(tx: Writer) -> int:
        return tx.run(
            "INSERT INTO audit (at_ms, actor, action, subject, detail_json) "
            "VALUES (1, 'a', 'b', 'c', '{}')"
        )

    assert await db.write(note) == 1
    with pytest.raises(ConstraintBroken, match="only appends"):
        await db.write(lambda tx: tx.run(statement))
    assert [kind for kind, *_ in await rows(db, who)] == ["credit"]


async def test_a_table_can_not_be_emptied_behind_its_back(fresh_db: Database) -> None:
    who = await customer(fresh_db)
    if not fresh_db.shared:
        return  # SQLite has no TRUNCATE
    with pytest.raises(ConstraintBroken, match="only appends"):
        await fresh_db.write(lambda tx: tx.run("TRUNCATE ledger"))
    assert len(await rows(fresh_db, who)) == 1
