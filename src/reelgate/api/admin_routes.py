"""The operator's routes once: what answers them, and what the reference says of them."""

from dataclasses import replace
from typing import Any

from reelgate.api import admin, money_wire
from reelgate.api import admin_bodies as bodies
from reelgate.api import admin_wire as cards
from reelgate.api.asgi import Handler, Route
from reelgate.api.describe import JSON, Access, Body, Doc, Param, Reply, Tag
from reelgate.api.money_docs import CSV, FORMAT, FROM, TASK, TO, group_by
from reelgate.api.paging import AFTER, LIMIT, ORDER
from reelgate.api.report_wire import ReportCard
from reelgate.domain.errors import Code
from reelgate.domain.task import State
from reelgate.flows import reports

_TEXT = {"type": "string"}
_ACCOUNT_404 = (Code.ACCOUNT_NOT_FOUND,)
_KEY_404 = (Code.KEY_NOT_FOUND,)
_UPSTREAM_404 = (Code.UPSTREAM_NOT_FOUND,)


def _doc(
    summary: str,
    reply: tuple[str, Any],
    about: str = "",
    *,
    body: type[Any] | None = None,
    params: tuple[Param, ...] = (),
    codes: tuple[Code, ...] = (),
    media: tuple[str, ...] = (JSON,),
) -> Doc:
    return Doc(
        summary,
        Tag.ADMIN,
        (Reply(*reply, media=media),),
        about,
        params=params,
        body=Body(body) if body else None,
        codes=codes,
    )


_CREATE_ACCOUNT = _doc(
    "Create an account",
    ("The account.", cards.AccountCard),
    body=bodies.NewAccount,
    codes=(Code.NAME_TAKEN,),
)
_LIST_ACCOUNTS = _doc(
    "List accounts",
    ("One page.", cards.Page[cards.AccountCard]),
    params=(AFTER, LIMIT, ORDER, Param("name", "Only the one of this name.", _TEXT)),
    codes=(Code.INVALID_VALUE,),
)
_GET_ACCOUNT = _doc("Get an account", ("The account.", cards.AccountCard), codes=_ACCOUNT_404)
_ACCOUNT_LEDGER = _doc(
    "Get an account's statement",
    ("One page.", money_wire.LedgerPage),
    "What its owner gets from `GET /v1/ledger`.",
    params=(AFTER, LIMIT, ORDER, TASK),
    codes=(Code.INVALID_VALUE, *_ACCOUNT_404),
)
_CREDIT = _doc(
    "Add money",
    ("Whether it was credited, and the account after it.", cards.CreditDone),
    "Send a `reference` (an invoice, a payment): the same one again credits nothing, so a credit "
    "can be repeated until it is answered.",
    body=bodies.NewCredit,
    codes=(*_ACCOUNT_404, Code.REFERENCE_REUSED),
)
_ADJUST = _doc(
    "Correct a balance",
    ("The account after it.", cards.AccountCard),
    "Up or down, never below what is available.",
    body=bodies.Adjustment,
    codes=(*_ACCOUNT_404, Code.INSUFFICIENT_BALANCE),
)
_CREATE_KEY = _doc(
    "Create a key",
    ("The key; `api_key` is shown this once.", cards.KeyCard),
    body=bodies.NewKey,
    codes=_ACCOUNT_404,
)
_LIST_KEYS = _doc(
    "List an account's keys",
    ("All of them, the oldest first.", cards.Page[cards.KeyCard]),
    codes=_ACCOUNT_404,
)
_CREATE_ADMIN_KEY = _doc(
    "Create an admin key",
    ("The key; `api_key` is shown this once.", cards.KeyCard),
    "It opens these routes and no customer's.",
    body=bodies.NewKey,
)
_LIST_ADMIN_KEYS = _doc(
    "List admin keys", ("All of them, the oldest first.", cards.Page[cards.KeyCard])
)
_GET_KEY = _doc("Get a key", ("The key and its usage.", cards.KeyCard), codes=_KEY_404)
_CHANGE_KEY = _doc(
    "Change a key",
    ("The key after it.", cards.KeyCard),
    "What is left out stays as it is; a limit that is null is lifted. In force everywhere within "
    "5 s.",
    body=bodies.KeyChange,
    codes=_KEY_404,
)
_ROTATE_KEY = _doc(
    "Replace a key",
    ("The new key; `api_key` is shown this once.", cards.KeyCard),
    "The old one works on for `overlap_s`. What both spend counts together.",
    body=bodies.Rotation,
    codes=_KEY_404,
)
_REVOKE_KEY = _doc(
    "Revoke a key",
    ("The key, ended.", cards.KeyCard),
    "No node takes it any more after 5 s.",
    codes=_KEY_404,
)
_LIST_TASKS = _doc(
    "Find tasks",
    ("One page.", cards.Page[cards.TaskCard]),
    params=(
        AFTER,
        LIMIT,
        ORDER,
        Param("account_id", "Only of this account.", _TEXT),
        Param("state", "Only in this state.", {"type": "string", "enum": list(State)}),
        Param("upstream_ref", "Only what an upstream calls this.", _TEXT),
    ),
    codes=(Code.INVALID_VALUE,),
)
_GET_TASK = _doc(
    "Get a task's whole history",
    ("Every move, every ledger row, its settlement.", cards.TaskHistory),
    codes=(Code.TASK_NOT_FOUND,),
)
_CANCEL_TASK = _doc(
    "Cancel a task",
    ("The cancelled task.", cards.TaskCard),
    codes=(Code.TASK_NOT_FOUND, Code.NOT_CANCELLABLE),
)
_RESOLVE_TASK = _doc(
    "Resolve a stranded task",
    ("The task after it.", cards.TaskCard),
    "For a task whose submit was never answered, once somebody has looked at the upstream.",
    body=bodies.Resolution,
    codes=(Code.TASK_NOT_FOUND, Code.NOT_RESOLVABLE),
)
_UPSTREAMS = _doc("List upstreams", ("All of them.", cards.Page[cards.UpstreamCard]))
_DISABLE = _doc(
    "Switch an upstream off",
    ("All upstreams.", cards.Page[cards.UpstreamCard]),
    "All nodes follow within seconds: no new jobs; those it has go on.",
    body=bodies.Reason,
    codes=_UPSTREAM_404,
)
_ENABLE = _doc(
    "Switch an upstream on",
    ("All upstreams.", cards.Page[cards.UpstreamCard]),
    codes=_UPSTREAM_404,
)
_REPORT = _doc(
    "Get revenue, cost and margin",
    ("Sums of the tasks that ended on these days.", ReportCard),
    "Costs are what upstreams said, exactly; losses are booked where nobody knows.",
    params=(FROM, TO, group_by(reports.REPORT_GROUPS, "day"), FORMAT),
    codes=(Code.INVALID_VALUE,),
    media=(JSON, CSV),
)
_AUDIT = _doc(
    "Get the audit log",
    ("One page, newest first.", cards.Page[cards.AuditCard]),
    "Every change that an operator made, here or on the command line.",
    params=(AFTER, LIMIT, Param("subject", "Only what was done to this.", _TEXT)),
    codes=(Code.INVALID_VALUE,),
)


def _route(method: str, path: str, handler: Handler, doc: Doc) -> Route:
    guarded = replace(doc, access=(Access.ADMIN_KEY,))
    path = f"/admin/v1{path}"
    return Route(method, path, admin.with_admin_key(handler), guarded, keyed=False)


ADMIN_ROUTES: tuple[Route, ...] = (
    _route("POST", "/accounts", admin.create_account, _CREATE_ACCOUNT),
    _route("GET", "/accounts", admin.list_accounts, _LIST_ACCOUNTS),
    _route("GET", "/accounts/{account_id}", admin.get_account, _GET_ACCOUNT),
    _route("GET", "/accounts/{account_id}/ledger", admin.account_ledger, _ACCOUNT_LEDGER),
    _route("POST", "/accounts/{account_id}/credits", admin.credit, _CREDIT),
    _route("POST", "/accounts/{account_id}/adjustments", admin.adjust, _ADJUST),
    _route("POST", "/accounts/{account_id}/keys", admin.create_key, _CREATE_KEY),
    _route("GET", "/accounts/{account_id}/keys", admin.list_keys, _LIST_KEYS),
    _route("POST", "/admin-keys", admin.create_admin_key, _CREATE_ADMIN_KEY),
    _route("GET", "/admin-keys", admin.list_admin_keys, _LIST_ADMIN_KEYS),
    _route("GET", "/keys/{key_id}", admin.get_key, _GET_KEY),
    _route("PATCH", "/keys/{key_id}", admin.change_key, _CHANGE_KEY),
    _route("DELETE", "/keys/{key_id}", admin.revoke_key, _REVOKE_KEY),
    _route("POST", "/keys/{key_id}/rotate", admin.rotate_key, _ROTATE_KEY),
    _route("GET", "/tasks", admin.list_tasks, _LIST_TASKS),
    _route("GET", "/tasks/{task_id}", admin.get_task, _GET_TASK),
    _route("POST", "/tasks/{task_id}/cancel", admin.cancel_task, _CANCEL_TASK),
    _route("POST", "/tasks/{task_id}/resolve", admin.resolve_task, _RESOLVE_TASK),
    _route("GET", "/upstreams", admin.list_upstreams, _UPSTREAMS),
    _route("POST", "/upstreams/{name}/disable", admin.disable_upstream, _DISABLE),
    _route("POST", "/upstreams/{name}/enable", admin.enable_upstream, _ENABLE),
    _route("GET", "/report", admin.report, _REPORT),
    _route("GET", "/audit", admin.audit_log, _AUDIT),
)
