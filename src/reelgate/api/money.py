"""An account's money: what there is, what was charged, and every row of its ledger."""

from functools import partial

from starlette.responses import Response

from reelgate.api import money_wire, wire
from reelgate.api.asgi import Answer, Call, Json
from reelgate.api.paging import newest_first, numbered, page_limit
from reelgate.domain.errors import Code, Refusal
from reelgate.flows import reports
from reelgate.flows.reports import Table
from reelgate.store import ledger

FORMATS = ("json", "csv")
_CSV = "text/csv"


async def balance(call: Call) -> Answer:
    """What new tasks may use, and what running ones hold."""
    found = await call.gateway.db.point(partial(ledger.balance, account_id=call.caller.account_id))
    assert found is not None
    return Json(wire.encode(wire.balance(found.available_micro, found.held_micro)))


async def usage(call: Call) -> Answer:
    """Itemised charges of some days, as JSON or CSV."""
    query = call.query()
    as_csv = wants_csv(call, query)
    period = reports.period(call.gateway, query.get("from"), query.get("to"))
    groups = reports.groups(
        query.get("group_by"), reports.USAGE_GROUPS, ("day", "model", "operation")
    )
    found = await reports.usage(call.gateway, call.caller.account_id, period, groups)
    if as_csv:
        return csv_file(reports.usage_table(found), f"usage-{period.first}-{period.last}")
    return Json(wire.encode(money_wire.usage(found)))


async def statement(call: Call) -> Answer:
    """A page of the account's ledger."""
    return await statement_of(call, call.caller.account_id)


async def statement_of(call: Call, account_id: str) -> Answer:
    """A page of any account's ledger."""
    query = call.query()
    limit = page_limit(query)
    found = await call.gateway.db.read(
        partial(
            ledger.statement,
            account_id=account_id,
            after_id=numbered(query, money_wire.ENTRY_PREFIX),
            limit=limit + 1,
            newest_first=newest_first(query),
            task_id=query.get("task_id"),
        )
    )
    page = money_wire.ledger_page(found[:limit], has_more=len(found) > limit)
    return Json(wire.encode(page))


def wants_csv(call: Call, query: dict[str, str]) -> bool:
    """By `?format=`, else by `Accept`. Raises Refusal (`invalid_value`)."""
    given = query.get("format")
    if given is None:
        return (call.header(b"accept") or "").partition(";")[0].strip().lower() == _CSV
    if given not in FORMATS:
        raise Refusal(
            Code.INVALID_VALUE,
            f"format {given[:40]!r} is not {' or '.join(FORMATS)}.",
            "format",
        )
    return given == "csv"


def csv_file(table: Table, name: str) -> Response:
    """A table as a file to save."""
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(reports.csv_text(table), headers=headers, media_type=_CSV)
