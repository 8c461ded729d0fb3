"""Rows to work on, in both databases."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from reelgate.catalog import MODELS
from reelgate.domain.ids import new_task_id
from reelgate.domain.model import Operation
from reelgate.domain.order import Order
from reelgate.domain.quote import Terms, quote
from reelgate.domain.task import State, Task
from reelgate.store import accounts, key_usage, ledger, tasks
from reelgate.store.accounts import ApiKey, Limits
from reelgate.store.database import Database, Writer
from tests.support.world import MODEL, Installation, open_database

NOW_MS = 1_700_000_000_000
COST_MICRO = 100_000


@pytest.fixture
def db(installation: Installation) -> Database:
    """A database that other tests of the module use too."""
    return installation.db


@pytest.fixture
async def fresh_db(database_url: str) -> AsyncIterator[Database]:
    """A database of the test's own."""
    database = open_database(database_url)
    yield database
    await database.close()


@dataclass(frozen=True, slots=True)
class Customer:
    """An account with 1 USD, and its key."""

    id: str
    key_id: str


def new_customer(tx: Writer, credit_micro: int = 1_000_000) -> Customer:
    """A customer with some money, in the caller's transaction."""
    customer = Customer(f"acct_{secrets.token_hex(8)}", f"key_{secrets.token_hex(8)}")
    accounts.insert_account(tx, customer.id, secrets.token_hex(8), NOW_MS)
    if credit_micro:
        ledger.credit(tx, customer.id, credit_micro, NOW_MS, None, "first credit")
    key = ApiKey(
        id=customer.key_id,
        account_id=customer.id,
        kind="customer",
        name="test",
        hint="…",
        created_at_ms=NOW_MS,
        expires_at_ms=None,
        revoked_at_ms=None,
        limits=Limits(),
    )
    accounts.insert_key(tx, key, secrets.token_hex(16))
    return customer


def new_task(customer: Customer, prompt: str = "A boat", now_ms: int = NOW_MS) -> Task:
    """A queued task of two seconds, not stored yet."""
    order = Order(MODEL, Operation.TEXT_TO_VIDEO, prompt, seconds=2, tier="480p")
    spec = MODELS[MODEL]
    quoted = quote(order, spec, spec.prices_micro, None)
    assert quoted.total_micro == COST_MICRO
    return Task(
        id=new_task_id(now_ms),
        account_id=customer.id,
        key_id=customer.key_id,
        model=MODEL,
        operation=order.operation.value,
        state=State.QUEUED,
        epoch=0,
        revision=0,
        created_at_ms=now_ms,
        due_at_ms=now_ms,
        deadline_at_ms=now_ms + 1_800_000,
        held_micro=COST_MICRO,
        progress=0,
        attempts=0,
        order=order,
        terms=Terms(dict(spec.prices_micro), quoted),
    )


def insert_held(tx: Writer, task: Task) -> Task:
    """Store a task with its hold, as a submit does."""
    assert ledger.hold(tx, task.account_id, task.id, task.held_micro, task.created_at_ms)
    key_usage.add_task(tx, task.key_id, key_usage.day_of(task.created_at_ms), task.held_micro)
    tasks.insert(tx, task, task.order.digest())
    return task
