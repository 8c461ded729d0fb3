"""Each check of the books finds the fault that it is for, and nothing in sound ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reelgate.domain.task import State
from reelgate.store import ledger, tasks, world
from reelgate.store.database import Database, Writer
from tests.store.conftest import COST_MICRO, NOW_MS, insert_held, new_customer, new_task

Fault = Callable[[Writer], None]


def _live(tx: Writer) -> str:
    return insert_held(tx, new_task(new_customer(tx))).id


def balance_without_entry(tx: Writer) -> None:
    who = new_customer(tx)
    tx.run("UPDATE account SET posted_micro = posted_micro + 1 WHERE id = ?", (who.id,))


def entry_without_balance(tx: Writer) -> None:
    who = new_customer(tx)
    tx.run(
        "INSERT INTO ledger (at_ms, kind, account_id, from_book, to_book, amount_micro) "
        "VALUES (1, 'credit', ?, 'funding', 'available', 1)",
        (who.id,),
    )


def unknown_book(tx: Writer) -> None:
    who = new_customer(tx)
    tx.run(
        "INSERT INTO ledger (at_ms, kind, account_id, from_book, to_book, amount_micro) "
        "VALUES (1, 'credit', ?, 'funding', 'pocket', 1)",
        (who.id,),
    )


def end_without_settlement(tx: Writer) -> None:
    tx.run("UPDATE task SET state = 'failed', ended_at_ms = 1 WHERE id = ?", (_live(tx),))


def settlement_without_end(tx: Writer) -> None:
    tx.run(
        "INSERT INTO settlement (task_id, account_id, key_id, model, operation, outcome, "
        "created_at_ms, ended_at_ms, held_micro, captured_micro, released_micro, loss_micro) "
        "VALUES (?, 'a', 'k', 'm', 'o', 'failed', 1, 1, 0, 0, 0, 0)",
        (_live(tx),),
    )


def state_without_end(tx: Writer) -> None:
    tx.run("UPDATE task SET state = 'cancelled' WHERE id = ?", (_live(tx),))


def hold_closed_early(tx: Writer) -> None:
    task = insert_held(tx, new_task(new_customer(tx)))
    ledger.close_hold(tx, task.account_id, task.id, 0, COST_MICRO, NOW_MS)


def hold_without_task(tx: Writer) -> None:
    who = new_customer(tx)
    assert ledger.hold(tx, who.id, "task_of_nobody", 1, NOW_MS)


def lease_of_nobody(tx: Writer) -> None:
    tx.run("UPDATE task SET lease_owner = 'worker_gone' WHERE id = ?", (_live(tx),))


def event_without_end(tx: Writer) -> None:
    tx.run(
        "INSERT INTO event (id, task_id, type, created_at_ms) VALUES (?, ?, 'video.failed', 1)",
        (f"evt_{_live(tx)}", _live(tx)),
    )


def completed_without_result(tx: Writer) -> None:
    tx.run("UPDATE task SET state = 'completed', ended_at_ms = 1 WHERE id = ?", (_live(tx),))


def charged_for_nothing(tx: Writer) -> None:
    task = insert_held(tx, new_task(new_customer(tx)))
    ledger.close_hold(tx, task.account_id, task.id, COST_MICRO, 0, NOW_MS)
    tx.run("UPDATE task SET state = 'failed', ended_at_ms = 1 WHERE id = ?", (task.id,))
    tx.run(
        "INSERT INTO settlement (task_id, account_id, key_id, model, operation, outcome, "
        "created_at_ms, ended_at_ms, held_micro, captured_micro, released_micro, loss_micro) "
        "VALUES (?, ?, ?, 'm', 'o', 'failed', 1, 1, ?, ?, 0, 0)",
        (task.id, task.account_id, task.key_id, COST_MICRO, COST_MICRO),
    )


def capture_without_entry(tx: Writer) -> None:
    task = insert_held(tx, new_task(new_customer(tx)))
    tx.run(
        "INSERT INTO settlement (task_id, account_id, key_id, model, operation, outcome, "
        "created_at_ms, ended_at_ms, held_micro, captured_micro, released_micro, loss_micro) "
        "VALUES (?, ?, ?, 'm', 'o', 'completed', 1, 1, 5, 5, 0, 0)",
        (task.id, task.account_id, task.key_id),
    )


def loss_without_entry(tx: Writer) -> None:
    task = insert_held(tx, new_task(new_customer(tx)))
    tx.run(
        "INSERT INTO settlement (task_id, account_id, key_id, model, operation, outcome, "
        "created_at_ms, ended_at_ms, held_micro, captured_micro, released_micro, loss_micro) "
        "VALUES (?, ?, ?, 'm', 'o', 'failed', 1, 1, 0, 0, 0, 5)",
        (task.id, task.account_id, task.key_id),
    )


def another_bill(tx: Writer) -> None:
    settlement_without_end(tx)
    tx.run("UPDATE task SET bill_json = '{}' WHERE id IN (SELECT task_id FROM settlement)")


def sent_twice(tx: Writer) -> None:
    task = insert_held(tx, new_task(new_customer(tx)))
    assert tasks.move(tx, task, State.SENDING, NOW_MS) is not None
    tx.run("UPDATE task SET state = 'queued' WHERE id = ?", (task.id,))
    assert tasks.move(tx, task, State.SENDING, NOW_MS) is not None


def key_miscounted(tx: Writer) -> None:
    task = insert_held(tx, new_task(new_customer(tx)))
    tx.run("UPDATE key_day SET live = live + 1 WHERE key_id = ?", (task.key_id,))


FAULTS: dict[str, tuple[Fault, ...]] = {
    "cached balances differ": (balance_without_entry, entry_without_balance),
    "books that do not exist": (unknown_book,),
    "ended task has no settlement": (end_without_settlement,),
    "live task has a settlement": (settlement_without_end,),
    "state and its end disagree": (state_without_end,),
    "hold in the ledger is not": (hold_closed_early,),
    "a hold has no task": (hold_without_task,),
    "leased to a worker that does not exist": (lease_of_nobody,),
    "capture is not in the ledger": (capture_without_entry,),
    "loss is not in the ledger": (loss_without_entry,),
    "bill is not that of its task": (another_bill,),
    "no event, or a live one has": (event_without_end, end_without_settlement),
    "completed task has no result": (completed_without_result,),
    "without a video was charged": (charged_for_nothing,),
    "sent to an upstream more than once": (sent_twice,),
    "key's count of its tasks differs": (key_miscounted,),
}
ROWS = [
    pytest.param(what, fault, id=fault.__name__) for what, row in FAULTS.items() for fault in row
]


class Undo(Exception):
    """Carries what was found out of a transaction that is then rolled back."""


async def found_after(db: Database, fault: Fault) -> list[str]:
    def break_and_look(tx: Writer) -> None:
        fault(tx)
        raise Undo(world.check_books(tx))

    with pytest.raises(Undo) as undone:
        await db.write(break_and_look)
    found: list[str] = undone.value.args[0]
    return found


@pytest.mark.parametrize(("what", "fault"), ROWS)
async def test_a_fault_is_found(db: Database, what: str, fault: Fault) -> None:
    assert [line for line in await found_after(db, fault) if what in line]


async def test_sound_books_are_sound(db: Database) -> None:
    def nothing_wrong(tx: Writer) -> None:
        _live(tx)

    assert await found_after(db, nothing_wrong) == []


def test_every_check_has_its_fault() -> None:
    """`account below zero` has none: the database itself refuses it."""
    checks = {what for what, _ in world._CHECKS} - {"an account is below zero"}
    assert [check for check in checks if not any(what in check for what in FAULTS)] == []
