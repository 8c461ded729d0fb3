"""What every field of the operator's answers means; what may be sent is in `admin_bodies.py`.

Amounts are decimal strings of USD, times whole seconds since the epoch unless a name ends in
`_ms`, days are UTC. Every field is always there, null where it says nothing.
"""

from typing import Any, Generic, Literal, TypeVar

import msgspec

from reelgate.api import wire
from reelgate.domain.money import usd, usd_of_ticks
from reelgate.domain.task import Task
from reelgate.flows.operator import History
from reelgate.flows.switches import Health
from reelgate.store import audit, key_usage
from reelgate.store.accounts import Account, ApiKey, Limits

T = TypeVar("T")

_MS_PER_SECOND = 1000
AUDIT_PREFIX = "audit_"


# ---- accounts and keys --------------------------------------------------------------------


class AccountCard(msgspec.Struct, frozen=True, kw_only=True):
    """A customer and its money."""

    id: str
    object: Literal["account"] = "account"
    name: str
    currency: Literal["USD"] = "USD"
    available: str
    held: str
    created_at: int


class CreditDone(msgspec.Struct, frozen=True, kw_only=True):
    """`credited` is false when the reference was credited before."""

    object: Literal["credit"] = "credit"
    credited: bool
    account: AccountCard


class LimitsCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do; null is no limit."""

    models: tuple[str, ...] | None
    spend_day_max: str | None
    spend_month_max: str | None
    spend_total_max: str | None
    requests_per_second_max: int | None
    tasks_in_flight_max: int | None


class KeyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a key, and those it replaced, spent or hold, and how many of their tasks live."""

    day: str
    month: str
    total: str
    tasks_in_flight: int


class KeyCard(msgspec.Struct, frozen=True, kw_only=True):
    """A key: never the key itself, but for `api_key`, which is there once, when it is made."""

    id: str
    object: Literal["key"] = "key"
    account_id: str | None
    kind: str
    name: str
    hint: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    limits: LimitsCard
    usage: KeyUsage | None
    api_key: str | None


def account_card(account: Account) -> AccountCard:
    return AccountCard(
        id=account.id,
        name=account.name,
        available=usd(account.posted_micro - account.held_micro),
        held=usd(account.held_micro),
        created_at=account.created_at_ms // _MS_PER_SECOND,
    )


def key_card(
    key: ApiKey, *, secret: str | None = None, spent: key_usage.Usage | None = None
) -> KeyCard:
    return KeyCard(
        id=key.id,
        account_id=key.account_id,
        kind=key.kind,
        name=key.name,
        hint=key.hint,
        created_at=key.created_at_ms // _MS_PER_SECOND,
        expires_at=_seconds(key.expires_at_ms),
        revoked_at=_seconds(key.revoked_at_ms),
        limits=_limits_card(key.limits),
        usage=None
        if spent is None
        else KeyUsage(
            day=usd(spent.day_micro),
            month=usd(spent.month_micro),
            total=usd(spent.total_micro),
            tasks_in_flight=spent.live,
        ),
        api_key=secret,
    )


def _limits_card(limits: Limits) -> LimitsCard:
    return LimitsCard(
        models=limits.models,
        spend_day_max=_usd(limits.spend_day_max_micro),
        spend_month_max=_usd(limits.spend_month_max_micro),
        spend_total_max=_usd(limits.spend_total_max_micro),
        requests_per_second_max=limits.requests_per_second_max,
        tasks_in_flight_max=limits.tasks_in_flight_max,
    )


# ---- tasks --------------------------------------------------------------------------------


class TaskCard(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the operator sees it; `video` is what its owner sees.

    `upstream_cost_ticks` is what the upstream said it costs, raw: 10^-10 USD.
    """

    id: str
    object: Literal["task"] = "task"
    account_id: str
    key_id: str
    request_id: str | None
    state: str
    created_at_ms: int
    deadline_at_ms: int
    ended_at_ms: int | None
    attempts: int
    worker_id: str | None
    held: str
    upstream: str | None
    upstream_ref: str | None
    upstream_cost_ticks: int | None
    upstream_cost: str | None
    video: wire.Video


class Move(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """One step of a task's life."""

    at_ms: int
    before: str
    after: str
    note: str


class TaskEntry(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """One row of the ledger that names the task: an amount from one book to another."""

    at_ms: int
    kind: str
    source: str
    target: str
    amount: str
    note: str | None


class SettlementCard(msgspec.Struct, frozen=True, kw_only=True):
    """How the task's money ended. `loss` is what was booked for an unknown outcome."""

    at_ms: int
    outcome: str
    error_code: str | None
    held: str
    charged: str
    released: str
    loss: str
    upstream_cost: str | None


class AuditCard(msgspec.Struct, frozen=True, kw_only=True):
    """`actor` (a key's id, or `local`) did `action` to `subject`."""

    id: str
    object: Literal["audit.entry"] = "audit.entry"
    at_ms: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class TaskHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A task and everything that became of it; lists are oldest first."""

    object: Literal["task.history"] = "task.history"
    task: TaskCard
    moves: list[Move]
    ledger: list[TaskEntry]
    settlement: SettlementCard | None
    audit: list[AuditCard]


def task_card(task: Task) -> TaskCard:
    ticks = task.upstream_cost_ticks
    return TaskCard(
        id=task.id,
        account_id=task.account_id,
        key_id=task.key_id,
        request_id=task.request_id,
        state=task.state.value,
        created_at_ms=task.created_at_ms,
        deadline_at_ms=task.deadline_at_ms,
        ended_at_ms=task.ended_at_ms,
        attempts=task.attempts,
        worker_id=task.lease_owner,
        held=usd(0 if task.ended else task.held_micro),
        upstream=task.upstream,
        upstream_ref=task.upstream_ref,
        upstream_cost_ticks=ticks,
        upstream_cost=None if ticks is None else usd_of_ticks(ticks),
        video=wire.video(task, None),
    )


def task_history(found: History) -> TaskHistory:
    settled = found.settlement
    return TaskHistory(
        task=task_card(found.task),
        moves=[Move(*move) for move in found.moves],
        ledger=[
            TaskEntry(e.at_ms, e.kind, e.from_book, e.to_book, usd(e.amount_micro), e.note)
            for e in found.entries
        ],
        settlement=None
        if settled is None
        else SettlementCard(
            at_ms=settled.ended_at_ms,
            outcome=settled.outcome,
            error_code=settled.error_code,
            held=usd(settled.held_micro),
            charged=usd(settled.captured_micro),
            released=usd(settled.released_micro),
            loss=usd(settled.loss_micro),
            upstream_cost=None
            if settled.upstream_cost_ticks is None
            else usd_of_ticks(settled.upstream_cost_ticks),
        ),
        audit=[audit_card(entry) for entry in reversed(found.audit)],
    )


def audit_card(entry: audit.Entry) -> AuditCard:
    return AuditCard(
        id=f"{AUDIT_PREFIX}{entry.id}",
        at_ms=entry.at_ms,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
    )


# ---- upstreams ----------------------------------------------------------------------------


class UpstreamCard(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream and how it is doing.

    `trouble` and `paused_ms` are what a node's circuit breaker knows: null and 0 when all is well.
    `live` counts the tasks of all nodes by state, the last two those of the last hour.
    """

    name: str
    object: Literal["upstream"] = "upstream"
    kind: str
    models: dict[str, str]
    priority: int
    weight: int
    max_in_flight: int
    enabled: bool
    disabled_at: int | None
    note: str | None
    trouble: str | None
    trouble_detail: str | None
    trouble_since: int | None
    paused_ms: int
    live: dict[str, int]
    completed_last_hour: int
    failed_last_hour: int


def upstream_card(health: Health) -> UpstreamCard:
    upstream, off, trouble = health.upstream, health.switch, health.trouble
    return UpstreamCard(
        name=upstream.name,
        kind=upstream.provider.kind,
        models=dict(upstream.models),
        priority=upstream.priority,
        weight=upstream.weight,
        max_in_flight=upstream.max_in_flight,
        enabled=off is None,
        disabled_at=_seconds(off.disabled_at_ms) if off else None,
        note=off.note or None if off else None,
        trouble=trouble.cause if trouble else None,
        trouble_detail=trouble.detail if trouble else None,
        trouble_since=_seconds(trouble.since_ms) if trouble else None,
        paused_ms=health.paused_ms,
        live=health.live,
        completed_last_hour=health.recent.completed,
        failed_last_hour=health.recent.failed,
    )


# ---- shared -------------------------------------------------------------------------------


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list; the next one is asked for with `after=last_id`."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool


def _seconds(at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms // _MS_PER_SECOND


def _usd(micro: int | None) -> str | None:
    return None if micro is None else usd(micro)
