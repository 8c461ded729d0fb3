"""The operator's routes: accounts, money, keys, tasks, upstreams, report, audit log.

Each is reached with an admin key and nothing else; the route table is what sees to that.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar

import msgspec

from reelgate.api import admin_bodies as bodies
from reelgate.api import admin_wire as cards
from reelgate.api import report_wire, wire
from reelgate.api.asgi import Answer, Call, Handler, Json
from reelgate.api.body import read_body
from reelgate.api.forms import BodyLimits
from reelgate.api.money import csv_file, statement_of, wants_csv
from reelgate.api.paging import newest_first, numbered, page_limit
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.money import parse_usd
from reelgate.domain.task import State
from reelgate.flows import accounts as money
from reelgate.flows import operator, reports, switches
from reelgate.store import accounts, audit, key_usage, tasks
from reelgate.store.accounts import ApiKey, Limits
from reelgate.store.database import Reader

T = TypeVar("T")
C = TypeVar("C")

_BODY_LIMITS = BodyLimits(request_bytes_max=64 * 1024)
_MS_PER_SECOND = 1000


def with_admin_key(handler: Handler) -> Handler:
    """A handler that only an admin key reaches. Raises Refusal (`invalid_api_key`)."""

    @wraps(handler)
    async def answer(call: Call) -> Answer:
        key = await call.api.authenticator.admin(call.header(b"authorization"))
        call.actor = key.id
        return await handler(call)

    return answer


# ---- accounts and their money -------------------------------------------------------------


async def create_account(call: Call) -> Answer:
    """A new account."""
    given = await _body(call, bodies.NewAccount)
    credit_micro = _amount(given.credit, "credit")
    made = await money.create_account(call.gateway, given.name, credit_micro, actor=call.actor)
    return _json(cards.account_card(made))


async def list_accounts(call: Call) -> Answer:
    """A page of accounts, or the one of a name."""
    query = call.query()
    limit, newest = page_limit(query), newest_first(query)
    if name := query.get("name"):
        found = await call.gateway.db.read(lambda tx: accounts.get_account(tx, name))
        return _page([found] if found else [], limit, cards.account_card, _id)
    page = partial(accounts.page, after=query.get("after"), limit=limit + 1, newest_first=newest)
    return _page(await call.gateway.db.read(page), limit, cards.account_card, _id)


async def get_account(call: Call) -> Answer:
    """One account."""
    found = await call.gateway.db.read(partial(money.account_in, account_id=_account(call)))
    return _json(cards.account_card(found))


async def account_ledger(call: Call) -> Answer:
    """A page of an account's ledger."""
    found = await call.gateway.db.read(partial(money.account_in, account_id=_account(call)))
    return await statement_of(call, found.id)


async def credit(call: Call) -> Answer:
    """Add money, once for each reference."""
    given = await _body(call, bodies.NewCredit)
    account_id, amount_micro = _account(call), _amount(given.amount, "amount")
    credited = await money.credit(
        call.gateway,
        account_id,
        amount_micro,
        reference=given.reference,
        note=given.note,
        actor=call.actor,
    )
    after = await call.gateway.db.read(partial(money.account_in, account_id=account_id))
    return _json(cards.CreditDone(credited=credited, account=cards.account_card(after)))


async def adjust(call: Call) -> Answer:
    """Correct an account's money."""
    given = await _body(call, bodies.Adjustment)
    amount_micro = _amount(given.amount, "amount")
    after = await money.adjust(
        call.gateway, _account(call), amount_micro, note=given.note, actor=call.actor
    )
    return _json(cards.account_card(after))


# ---- keys ---------------------------------------------------------------------------------


async def create_key(call: Call) -> Answer:
    """A new key of an account."""
    return await _create_key(call, _account(call))


async def create_admin_key(call: Call) -> Answer:
    """A new key for these routes."""
    return await _create_key(call, None)


async def _create_key(call: Call, account_id: str | None) -> Answer:
    given = await _body(call, bodies.NewKey)
    made = await money.create_key(
        call.gateway,
        account_id,
        name=given.name,
        expires_at_ms=_ms(given.expires_at),
        limits=Limits(**_limits(given.limits)),
        actor=call.actor,
    )
    return _json(cards.key_card(made.key, secret=made.secret))


async def list_keys(call: Call) -> Answer:
    """All keys of an account."""

    def read(tx: Reader) -> list[ApiKey]:
        return accounts.list_keys(tx, money.account_in(tx, _account(call)).id)

    found = await call.gateway.db.read(read)
    return _page(found, len(found), cards.key_card, _id)


async def list_admin_keys(call: Call) -> Answer:
    """All admin keys."""
    found = await call.gateway.db.read(partial(accounts.list_keys, account_id=None))
    return _page(found, len(found), cards.key_card, _id)


async def get_key(call: Call) -> Answer:
    """One key, and what it has spent."""
    today = key_usage.day_of(call.gateway.clock.now_ms())
    month = key_usage.first_day_of_month(today)

    def read(tx: Reader) -> tuple[ApiKey, key_usage.Usage]:
        key = money.key_in(tx, call.params["key_id"])
        return key, key_usage.usage(tx, key.family, today, month)

    key, spent = await call.gateway.db.read(read)
    return _json(cards.key_card(key, spent=spent))


async def change_key(call: Call) -> Answer:
    """Change a key's name, expiry or limits."""
    given = await _body(call, bodies.KeyChange)
    expires_at = given.expires_at
    changed = await money.change_key(
        call.gateway,
        call.params["key_id"],
        name=given.name,
        expires_at_ms=expires_at if expires_at is msgspec.UNSET else _ms(expires_at),
        limits=_limits(given.limits),
        actor=call.actor,
    )
    return _json(cards.key_card(changed))


async def rotate_key(call: Call) -> Answer:
    """A new key in place of an old one."""
    given = await _body(call, bodies.Rotation)
    if not 0 <= given.overlap_s <= bodies.OVERLAP_S_MAX:
        raise Refusal(
            Code.INVALID_VALUE, f"overlap_s is from 0 to {bodies.OVERLAP_S_MAX}.", "overlap_s"
        )
    made = await money.rotate_key(
        call.gateway,
        call.params["key_id"],
        overlap_ms=given.overlap_s * _MS_PER_SECOND,
        actor=call.actor,
    )
    return _json(cards.key_card(made.key, secret=made.secret))


async def revoke_key(call: Call) -> Answer:
    """End a key, on every node within seconds."""
    ended = await money.revoke_key(call.gateway, call.params["key_id"], actor=call.actor)
    return _json(cards.key_card(ended))


# ---- tasks --------------------------------------------------------------------------------


async def list_tasks(call: Call) -> Answer:
    """A page of all accounts' tasks, or of those that are asked for."""
    query = call.query()
    limit = page_limit(query)
    page = partial(
        tasks.page,
        account_id=query.get("account_id"),
        after=query.get("after"),
        limit=limit + 1,
        newest_first=newest_first(query),
        state=_state(query.get("state")),
        upstream_ref=query.get("upstream_ref"),
    )
    return _page(await call.gateway.db.read(page), limit, cards.task_card, _id)


async def get_task(call: Call) -> Answer:
    """One task with its whole history."""
    call.task_id = call.params["task_id"]
    found = await operator.history(call.gateway, call.task_id)
    return _json(cards.task_history(found))


async def cancel_task(call: Call) -> Answer:
    """Stop any account's task, where it still can be."""
    call.task_id = call.params["task_id"]
    return _json(
        cards.task_card(await operator.cancel(call.gateway, call.task_id, actor=call.actor))
    )


async def resolve_task(call: Call) -> Answer:
    """Decide what becomes of a stranded task."""
    call.task_id = call.params["task_id"]
    given = await _body(call, bodies.Resolution)
    after = await operator.resolve(
        call.gateway, call.task_id, _resolution(given), note=given.note, actor=call.actor
    )
    return _json(cards.task_card(after))


def _resolution(given: bodies.Resolution) -> operator.Resolution:
    match given.outcome:
        case "running":
            return operator.Found(given.upstream_ref or "")
        case "queued":
            return operator.SendAgain()
        case "failed":
            if given.upstream_ran is None:
                raise Refusal(
                    Code.MISSING_REQUIRED_PARAMETER,
                    "upstream_ran is required with the outcome failed: true books the highest "
                    "that the task may have cost as a loss.",
                    "upstream_ran",
                )
            return operator.Lost(given.upstream_ran)


def _state(given: str | None) -> State | None:
    if given is None:
        return None
    try:
        return State(given)
    except ValueError:
        raise Refusal(
            Code.INVALID_VALUE, f"state {given[:40]!r} is not one of {', '.join(State)}.", "state"
        ) from None


# ---- upstreams, report, audit -------------------------------------------------------------


async def list_upstreams(call: Call) -> Answer:
    """All upstreams, and how each is doing."""
    found = await switches.health(call.gateway)
    return _page(found, len(found), cards.upstream_card, lambda health: health.upstream.name)


async def disable_upstream(call: Call) -> Answer:
    """Send no more jobs to an upstream; those it has go on."""
    given = await _body(call, bodies.Reason)
    await switches.disable(call.gateway, call.params["name"], note=given.note, actor=call.actor)
    return await list_upstreams(call)


async def enable_upstream(call: Call) -> Answer:
    """Send jobs to an upstream again."""
    await switches.enable(call.gateway, call.params["name"], actor=call.actor)
    return await list_upstreams(call)


async def report(call: Call) -> Answer:
    """Revenue, upstream cost, margin and losses, as JSON or CSV."""
    query = call.query()
    as_csv = wants_csv(call, query)
    period = reports.period(call.gateway, query.get("from"), query.get("to"))
    groups = reports.groups(query.get("group_by"), reports.REPORT_GROUPS, ("day",))
    found = await reports.report(call.gateway, period, groups)
    if as_csv:
        return csv_file(reports.report_table(found), f"report-{period.first}-{period.last}")
    return _json(report_wire.report_card(found))


async def audit_log(call: Call) -> Answer:
    """A page of the audit log, newest first."""
    query = call.query()
    limit = page_limit(query)
    page = partial(
        audit.page,
        subject=query.get("subject"),
        before_id=numbered(query, cards.AUDIT_PREFIX),
        limit=limit + 1,
    )
    found = await call.gateway.db.read(page)
    return _page(found, limit, cards.audit_card, lambda entry: f"{cards.AUDIT_PREFIX}{entry.id}")


# ---- shared -------------------------------------------------------------------------------


def _json(value: object) -> Answer:
    return Json(wire.encode(value))


def _page(
    found: Sequence[T], limit: int, card: Callable[[T], C], name: Callable[[T], str]
) -> Answer:
    """The first `limit` of what was found, which may be one more, as a page."""
    shown = found[:limit]
    page = cards.Page(
        data=[card(one) for one in shown],
        first_id=name(shown[0]) if shown else None,
        last_id=name(shown[-1]) if shown else None,
        has_more=len(found) > limit,
    )
    return _json(page)


def _id(one: Any) -> str:
    return str(one.id)


def _account(call: Call) -> str:
    return call.params["account_id"]


async def _body(call: Call, kind: type[T]) -> T:
    """What was sent, as `kind`. Raises Refusal."""
    given = await read_body(call.scope, call.receive, _BODY_LIMITS)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise bodies.refusal(str(error)) from None


def _amount(text: str, param: str) -> int:
    try:
        return parse_usd(text)
    except ValueError as error:
        raise Refusal(Code.INVALID_VALUE, f"{param}: {error}", param) from None


def _limits(given: bodies.LimitChange) -> dict[str, Any]:
    try:
        return given.changes()
    except ValueError as error:
        raise Refusal(Code.INVALID_VALUE, f"limits: {error}", "limits") from None


def _ms(at_s: int | None) -> int | None:
    return None if at_s is None else at_s * _MS_PER_SECOND
