"""A request becomes a durable, paid-for task. No upstream is asked here.

Replay, hold, ledger row and task commit together: an answer of 200 means all of it is on disk.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import Code, Problem, Refusal, StoreError, StoreUnavailable
from reelgate.domain.ids import new_task_id
from reelgate.domain.model import ModelSpec
from reelgate.domain.money import usd
from reelgate.domain.order import Draft, Order, SourceFacts
from reelgate.domain.quote import Bill, Terms, quote
from reelgate.domain.rules import check
from reelgate.domain.task import State, Task
from reelgate.flows import inputs, key_limits
from reelgate.flows.gateway import Caller, Gateway
from reelgate.store import idempotency, key_usage, ledger, tasks
from reelgate.store.database import WAKE, CommitUnknown, Reader, Writer

# An unclear COMMIT is asked about for these seconds before its request is answered.
_DOUBT_PAUSES_S = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What tells a repeated request from a new one (contract, section 6)."""

    idempotency_key: str | None = None
    retry_count: int = 0


@dataclass(frozen=True, slots=True)
class Submitted:
    """The task of a request; `replayed` when an earlier request had made it."""

    task: Task
    replayed: bool


@dataclass(frozen=True, slots=True)
class Priced:
    """A checked order and the highest it can cost."""

    order: Order
    source: SourceFacts | None
    quoted: Bill


async def price(gateway: Gateway, caller: Caller, draft: Draft, problems: list[Problem]) -> Priced:
    """Check and price a draft, measuring what is in hand. Raises Refusal."""
    spec = gateway.models[draft.model]
    key_limits.check_model(caller.key, spec.id)
    await inputs.measure(gateway, caller, draft, spec, problems)
    order = check(draft, spec, problems)
    source = order.video.facts if order.video else None
    return Priced(order, source, quote(order, spec, spec.prices_micro, source))


async def submit(
    gateway: Gateway,
    caller: Caller,
    draft: Draft,
    problems: list[Problem],
    repeatable: Repeatable,
    request_id: str | None = None,
) -> Submitted:
    """Turn a draft into a queued task with its hold, or find the task it made before.

    Raises Refusal, and StorageFull or StoreUnavailable when it can't be made durable; then
    nothing is held.
    """
    readable = not problems
    try:
        priced = await price(gateway, caller, draft, problems)
    except Refusal:
        if readable and (earlier := await _made_before(gateway, caller, draft, repeatable)):
            return Submitted(earlier, replayed=True)
        raise
    task = _new_task(gateway, caller, gateway.models[draft.model], priced, request_id)
    crash_point("submit.before_inputs")
    task = await inputs.store(gateway, task, draft)
    digest = task.order.digest()
    crash_point("submit.before_commit")
    try:
        made = await _commit(gateway, caller, task, digest, repeatable)
    except CommitUnknown:
        raise  # the task may be there, and need its inputs
    except (Refusal, StoreError):
        await inputs.forget(gateway, task)
        raise
    crash_point("submit.after_commit")
    if made.replayed:
        await inputs.forget(gateway, task)
    else:
        gateway.watch.work()
    return made


async def _made_before(
    gateway: Gateway, caller: Caller, draft: Draft, repeatable: Repeatable
) -> Task | None:
    """The task of a request that would be refused by now: its source may have gone since."""
    key, account_id = repeatable.idempotency_key, caller.account_id
    if key is None and not repeatable.retry_count:
        return None
    try:
        digest = check(draft, gateway.models[draft.model]).digest()
    except Refusal:
        return None

    def find(tx: Reader) -> Task | None:
        if key is None:
            return tasks.find_repeat(tx, account_id, digest, gateway.clock.now_ms())
        claimed = idempotency.find(tx, account_id, key)
        if claimed is None or claimed.order_digest != digest:
            return None
        return tasks.get(tx, claimed.task_id)

    return await gateway.db.read(find)


async def _commit(
    gateway: Gateway, caller: Caller, task: Task, digest: str, repeatable: Repeatable
) -> Submitted:
    """Raises CommitUnknown when it can't be found out whether the task was made."""
    doubt: CommitUnknown | None = None
    for pause_s in (*_DOUBT_PAUSES_S, 0):
        write = partial(
            _submit_in,
            caller=caller,
            task=task,
            digest=digest,
            repeatable=repeatable,
            doubtful=doubt is not None,
        )
        try:
            return await gateway.db.write(write, locks=task.account_id)
        except StoreUnavailable as error:
            doubt = error if isinstance(error, CommitUnknown) else doubt
            if doubt is None:
                raise
        await asyncio.sleep(pause_s)
    assert doubt is not None
    raise doubt


def _new_task(
    gateway: Gateway, caller: Caller, spec: ModelSpec, priced: Priced, request_id: str | None
) -> Task:
    now_ms = gateway.clock.now_ms()
    return Task(
        id=new_task_id(now_ms),
        account_id=caller.account_id,
        key_id=caller.key.id,
        model=priced.order.model,
        operation=priced.order.operation.value,
        state=State.QUEUED,
        epoch=0,
        revision=0,
        created_at_ms=now_ms,
        due_at_ms=now_ms,
        deadline_at_ms=now_ms + gateway.policy.task_deadline_ms,
        held_micro=priced.quoted.total_micro,
        progress=0,
        attempts=0,
        order=priced.order,
        terms=Terms(dict(spec.prices_micro), priced.quoted),
        source=priced.source,
        request_id=request_id,
    )


def _submit_in(
    tx: Writer,
    caller: Caller,
    task: Task,
    digest: str,
    repeatable: Repeatable,
    *,
    doubtful: bool = False,
) -> Submitted:
    if doubtful:
        # The same transaction may have committed, or be about to: its locks are waited for.
        ledger.lock_account(tx, task.account_id)
        made = tasks.get(tx, task.id)
        if made is not None:
            return Submitted(made, replayed=False)
    earlier = _earlier(tx, task, digest, repeatable)
    if earlier is not None:
        return Submitted(earlier, replayed=True)
    if not ledger.hold(tx, task.account_id, task.id, task.held_micro, task.created_at_ms):
        raise _cannot_pay(ledger.balance(tx, task.account_id), task.held_micro)
    day = key_usage.day_of(task.created_at_ms)
    key_usage.add_task(tx, task.key_id, day, task.held_micro)
    key_limits.check_usage(tx, caller.key, task.created_at_ms)
    tasks.insert(tx, task, digest)
    tx.notify(WAKE)
    return Submitted(task, replayed=False)


def _earlier(tx: Writer, task: Task, digest: str, repeatable: Repeatable) -> Task | None:
    """The task that this request made before, if it did."""
    key = repeatable.idempotency_key
    if key is not None:
        claimed = idempotency.claim(tx, task.account_id, key, digest, task.id, task.created_at_ms)
        if claimed is None:
            return None
        if claimed.order_digest != digest:
            raise Refusal(
                Code.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key was used for another request. Send a new key for a new "
                "request, or exactly the same request again to get its task.",
                "Idempotency-Key",
            )
        return tasks.get(tx, claimed.task_id)
    if repeatable.retry_count > 0:
        # Two retries at the same moment must not both find nothing.
        ledger.lock_account(tx, task.account_id)
        return tasks.find_repeat(tx, task.account_id, digest, task.created_at_ms)
    return None


def _cannot_pay(balance: ledger.Balance | None, needed_micro: int) -> Refusal:
    available = balance.available_micro if balance else 0
    return Refusal(
        Code.INSUFFICIENT_BALANCE,
        f"This task can cost up to {usd(needed_micro)} USD, but {usd(available)} USD is "
        "available. Nothing was charged. Add credit, or ask for a shorter or smaller video.",
    )
