"""Moves, fences, repeats and pages, as the statements themselves keep them."""

from __future__ import annotations

from functools import partial

import pytest

from reelgate.domain.task import State
from reelgate.store import idempotency, tasks
from reelgate.store.database import Database, Writer
from tests.store.conftest import NOW_MS, insert_held, new_customer, new_task


async def test_a_task_comes_back_as_it_was_stored(db: Database) -> None:
    def insert(tx: Writer) -> None:
        task = insert_held(tx, new_task(new_customer(tx), "Ein Boot 🛶 \u2028 'x'; -- \\ %s ?"))
        assert tasks.get(tx, task.id) == task
        assert tasks.get_of_account(tx, task.account_id, task.id) == task
        assert tasks.get_of_account(tx, "acct_other", task.id) is None

    await db.write(insert)


async def test_only_legal_moves_are_made(db: Database) -> None:
    def leap(tx: Writer) -> None:
        task = insert_held(tx, new_task(new_customer(tx)))
        tasks.move(tx, task, State.COMPLETED, NOW_MS)

    with pytest.raises(ValueError, match="not a legal move"):
        await db.write(leap)


async def test_a_write_that_names_another_state_or_epoch_changes_nothing(db: Database) -> None:
    def race(tx: Writer) -> None:
        task = insert_held(tx, new_task(new_customer(tx)))
        sending = tasks.move(tx, task, State.SENDING, NOW_MS, "first", upstream="a")
        assert sending is not None
        assert tasks.move(tx, task, State.SENDING, NOW_MS, "second", upstream="b") is None
        assert tasks.note_change(tx, task, progress=50) is None
        found = tasks.get(tx, task.id)
        assert found == sending
        assert tasks.history(tx, task.id) == [(NOW_MS, "queued", "sending", "first")]

    await db.write(race)


async def test_what_a_change_says_of_the_hold_is_what_the_row_says(db: Database) -> None:
    def grow(tx: Writer) -> None:
        task = insert_held(tx, new_task(new_customer(tx)))
        assert tasks.note_change(tx, task, held_micro=123_456) is not None
        moved = tasks.move(tx, task, State.SENDING, NOW_MS)
        assert moved is not None and moved.held_micro == 123_456
        tasks.note_change(tx, moved, held_micro=task.held_micro)

    await db.write(grow)


@pytest.mark.parametrize(
    ("age_ms", "found"), [(0, True), (599_999, True), (600_000, True), (600_001, False)]
)
async def test_a_repeat_is_found_for_ten_minutes(db: Database, age_ms: int, found: bool) -> None:
    def look(tx: Writer) -> None:
        who = new_customer(tx)
        task = insert_held(tx, new_task(who))
        digest = task.order.digest()
        repeat = tasks.find_repeat(tx, who.id, digest, NOW_MS + age_ms)
        assert (repeat == task) is found
        assert tasks.find_repeat(tx, who.id, "another order", NOW_MS + age_ms) is None
        assert tasks.find_repeat(tx, new_customer(tx).id, digest, NOW_MS + age_ms) is None

    await db.write(look)


async def test_of_several_repeats_the_newest_is_found(db: Database) -> None:
    def look(tx: Writer) -> None:
        who = new_customer(tx)
        insert_held(tx, new_task(who))
        newest = insert_held(tx, new_task(who, now_ms=NOW_MS + 5_000))
        digest = newest.order.digest()
        assert tasks.find_repeat(tx, who.id, digest, NOW_MS + 6_000) == newest

    await db.write(look)


async def test_an_idempotency_key_stands_for_its_first_task(db: Database) -> None:
    def claim(tx: Writer) -> None:
        who, other = new_customer(tx), new_customer(tx)
        claimed = partial(idempotency.claim, tx, now_ms=NOW_MS)
        assert claimed(account_id=who.id, key="k", order_digest="d", task_id="t1") is None
        again = claimed(account_id=who.id, key="k", order_digest="e", task_id="t2")
        assert again == idempotency.Claimed("d", "t1")
        assert claimed(account_id=other.id, key="k", order_digest="e", task_id="t3") is None

    await db.write(claim)


async def test_idempotency_keys_are_forgotten_by_age(fresh_db: Database) -> None:
    def claim(tx: Writer) -> None:
        who = new_customer(tx)
        for age in range(5):
            idempotency.claim(tx, who.id, f"k{age}", "d", "t", NOW_MS - age)

    await fresh_db.write(claim)
    forget = partial(idempotency.forget_older, before_ms=NOW_MS - 1, limit=2)
    assert [await fresh_db.write(forget) for _ in range(3)] == [2, 1, 0]
    left = await fresh_db.read(lambda tx: tx.all("SELECT idempotency_key FROM idempotency"))
    assert sorted(row[0] for row in left) == ["k0", "k1"]


async def test_pages_stay_right_while_tasks_are_added(db: Database) -> None:
    def pages(tx: Writer) -> None:
        who = new_customer(tx, 100_000_000)
        made = [insert_held(tx, new_task(who, now_ms=NOW_MS + n)).id for n in range(10)]
        page = partial(tasks.page, tx, who.id, limit=4)
        first = [task.id for task in page(after=None, newest_first=True)]
        assert first == made[9:5:-1]
        insert_held(tx, new_task(who, now_ms=NOW_MS + 99))
        second = [task.id for task in page(after=first[-1], newest_first=True)]
        assert second == made[5:1:-1]
        oldest = [task.id for task in page(after=None, newest_first=False)]
        assert oldest == made[:4]

    await db.write(pages)


async def test_any_number_of_tasks_can_be_watched(db: Database) -> None:
    def insert(tx: Writer) -> str:
        return insert_held(tx, new_task(new_customer(tx))).id

    task_id = await db.write(insert)
    watched = [task_id, *(f"task_{n}" for n in range(70_000))]
    assert await db.read(partial(tasks.revisions, task_ids=watched)) == {task_id: 0}
