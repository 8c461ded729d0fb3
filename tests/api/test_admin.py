"""`/admin/v1`: what an operator may do, who may not, and that every change leaves a trace."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from reelgate.api.admin_routes import ADMIN_ROUTES
from reelgate.domain.task import State, Task
from reelgate.flows import accounts, switches
from reelgate.providers.base import Cause, Done, Failed, Uncertain, Verdict
from tests.support.http import client_of, new_app
from tests.support.world import World

Json = dict[str, Any]


@dataclass
class Operator:
    """A world, and clients with an admin key, with a customer's and with none."""

    world: World
    http: httpx.AsyncClient
    customer: httpx.AsyncClient
    stranger: httpx.AsyncClient
    key_id: str

    async def get(self, path: str, **params: str) -> Json:
        return self.good(await self.http.get(f"/admin/v1{path}", params=params))

    async def post(self, path: str, **body: Any) -> Json:
        return self.good(await self.http.post(f"/admin/v1{path}", json=body))

    async def refused(self, path: str, **body: Any) -> tuple[int, str, str | None]:
        """(status, code, param) of a POST that is refused."""
        answer = await self.http.post(f"/admin/v1{path}", json=body)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return answer.status_code, error["code"], error["param"]

    def good(self, answer: httpx.Response) -> Json:
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    @property
    def account(self) -> str:
        return f"/accounts/{self.world.caller.account_id}"

    async def last_audit(self) -> tuple[str, str, str]:
        """(actor, action, subject) of the newest entry."""
        (entry,) = (await self.get("/audit", limit="1"))["data"]
        return entry["actor"], entry["action"], entry["subject"]

    async def stranded(self) -> Task:
        """A task whose submit was never answered, in the worker's hands."""
        self.world.provider.on_submit.append(Uncertain(Cause.NETWORK, "reset"))
        return await self.world.live(await self.world.submit(), until=State.STRANDED)


@pytest.fixture
async def op(world: World) -> AsyncIterator[Operator]:
    admin = await accounts.create_key(world.gateway, None, name="ops")
    customer = await accounts.create_key(world.gateway, world.caller.account_id)
    app = new_app(world.gateway)
    async with (
        client_of(app, admin.secret) as http,
        client_of(app, customer.secret) as customers,
        client_of(app, None) as stranger,
    ):
        yield Operator(world, http, customers, stranger, admin.key.id)


def a_name() -> str:
    return f"account-{secrets.token_hex(6)}"


# ---- who may ------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_route_opens_without_an_admin_key(op: Operator, route: Any) -> None:
    path = route.path.format(account_id="a", key_id="k", task_id="t", name="n")
    for client in (op.customer, op.stranger):
        answer = await client.request(route.method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_an_admin_key_is_no_customers_key(op: Operator) -> None:
    for path in ("/v1/balance", "/v1/videos", "/v1/models"):
        answer = await op.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_revoked_admin_key_opens_nothing(op: Operator) -> None:
    made = await op.post("/admin-keys", name="second")
    assert (made["kind"], made["account_id"]) == ("admin", None)
    assert made["api_key"].startswith("sk-admin-")
    listed = (await op.get("/admin-keys"))["data"]
    assert made["id"] in [key["id"] for key in listed]
    assert {key["api_key"] for key in listed} == {None}
    op.good(await op.http.delete(f"/admin/v1/keys/{made['id']}"))
    async with client_of(new_app(op.world.gateway), made["api_key"]) as ended:
        assert (await ended.get("/admin/v1/audit")).status_code == 401


# ---- accounts and money -------------------------------------------------------------------


async def test_an_account_from_its_making_to_its_money(op: Operator) -> None:
    name = a_name()
    op.world.clock.advance_ms(10**9)  # newer than the accounts of all other tests
    made = await op.post("/accounts", name=name, credit="12.5")
    assert made["object"] == "account"
    assert (made["name"], made["available"], made["held"]) == (name, "12.50", "0.00")
    assert await op.last_audit() == (op.key_id, "account.create", made["id"])
    assert await op.get(f"/accounts/{made['id']}") == made
    assert (await op.get("/accounts", name=name))["data"] == [made]
    assert (await op.get("/accounts", limit="1"))["data"] == [made]
    before = await op.get("/accounts", after=made["id"], limit="100")
    assert op.world.caller.account_id in [account["id"] for account in before["data"]]
    assert made["id"] not in [account["id"] for account in before["data"]]
    assert await op.refused("/accounts", name=name) == (409, "name_taken", None)


async def test_a_credit_with_a_reference_counts_once(op: Operator) -> None:
    first = await op.post(f"{op.account}/credits", amount="5", reference="inv-7", note="paid")
    again = await op.post(f"{op.account}/credits", amount="5.00", reference="inv-7")
    assert (first["credited"], first["account"]["available"]) == (True, "105.00")
    assert (again["credited"], again["account"]["available"]) == (False, "105.00")
    refused = await op.refused(f"{op.account}/credits", amount="6", reference="inv-7")
    assert refused == (422, "reference_reused", "reference")
    entries = (await op.get("/audit", subject=op.world.caller.account_id))["data"]
    assert [entry["action"] for entry in entries] == ["account.credit", "account.create"]
    assert entries[0]["detail"] == {"amount_micro": 5_000_000, "reference": "inv-7", "note": "paid"}
    (row, _) = (await op.get(f"{op.account}/ledger"))["data"]
    assert (row["kind"], row["reference"], row["note"]) == ("credit", "inv-7", "paid")


async def test_a_correction_never_takes_what_is_held(op: Operator) -> None:
    await op.world.submit(seconds=10)  # holds 0.50
    short = await op.refused(f"{op.account}/adjustments", amount="-99.51", note="too much")
    assert short == (402, "insufficient_balance", None)
    done = await op.post(f"{op.account}/adjustments", amount="-99.50", note="all of it")
    assert (done["available"], done["held"]) == ("0.00", "0.50")
    assert await op.last_audit() == (op.key_id, "account.adjust", op.world.caller.account_id)
    up = await op.post(f"{op.account}/adjustments", amount="0.000001", note="a micro-dollar")
    assert up["available"] == "0.000001"


@pytest.mark.parametrize(
    ("path", "body", "refused"),
    [
        ("/accounts", {}, (400, "missing_required_parameter", "name")),
        ("/accounts", {"name": " "}, (400, "invalid_value", "name")),
        ("/accounts", {"name": "x", "credit": 5}, (400, "invalid_value", "credit")),
        ("/accounts", {"name": "x", "credit": "five"}, (400, "invalid_value", "credit")),
        ("/accounts", {"name": "x", "credit": "-1"}, (400, "invalid_value", "amount")),
        ("/accounts", {"name": "x", "colour": "red"}, (400, "unknown_parameter", "colour")),
        ("{account}/credits", {"amount": "0"}, (400, "invalid_value", "amount")),
        ("{account}/credits", {"amount": "0.0000001"}, (400, "invalid_value", "amount")),
        ("{account}/credits", {"amount": 1.5}, (400, "invalid_value", "amount")),
        ("{account}/adjustments", {"amount": "1"}, (400, "missing_required_parameter", "note")),
        (
            "{account}/adjustments",
            {"amount": "1", "note": " "},
            (400, "missing_required_parameter", "note"),
        ),
        ("/accounts/acct_x/credits", {"amount": "1"}, (404, "account_not_found", None)),
        (
            "/accounts/acct_x/adjustments",
            {"amount": "1", "note": "x"},
            (404, "account_not_found", None),
        ),
        ("/accounts/acct_x/keys", {}, (404, "account_not_found", None)),
        ("{account}/keys", {"limits": {"models": ["sora"]}}, (400, "invalid_value", "models")),
        (
            "{account}/keys",
            {"limits": {"requests_per_second_max": 0}},
            (400, "invalid_value", "requests_per_second_max"),
        ),
        ("{account}/keys", {"limits": {"spend_day_max": "x"}}, (400, "invalid_value", "limits")),
        ("{account}/keys", {"limits": {"spend": "1"}}, (400, "unknown_parameter", "limits.spend")),
        ("{account}/keys", {"expires_at": "soon"}, (400, "invalid_value", "expires_at")),
        ("{account}/keys", {"expires_at": -1}, (400, "invalid_value", "expires_at")),
        ("{account}/keys", {"expires_at": 10**17}, (400, "invalid_value", "expires_at")),
        ("/keys/key_x/rotate", {}, (404, "key_not_found", None)),
        ("/keys/key_x/rotate", {"overlap_s": -1}, (400, "invalid_value", "overlap_s")),
        ("/tasks/task_x/cancel", {}, (404, "task_not_found", None)),
        ("/tasks/task_x/resolve", {"outcome": "queued"}, (404, "task_not_found", None)),
        ("/tasks/task_x/resolve", {"outcome": "lost"}, (400, "invalid_value", "outcome")),
        (
            "/tasks/task_x/resolve",
            {"outcome": "failed"},
            (400, "missing_required_parameter", "upstream_ran"),
        ),
        (
            "/tasks/task_x/resolve",
            {"outcome": "running"},
            (400, "missing_required_parameter", "upstream_ref"),
        ),
        ("/upstreams/nobody/disable", {}, (404, "upstream_not_found", None)),
        ("/upstreams/nobody/enable", {}, (404, "upstream_not_found", None)),
    ],
)  # fmt: skip
async def test_what_is_refused(
    op: Operator, path: str, body: Json, refused: tuple[int, str, str | None]
) -> None:
    before = await op.get("/audit", limit="1")
    assert await op.refused(path.format(account=op.account), **body) == refused
    assert await op.get("/audit", limit="1") == before


async def test_a_body_that_is_no_object_is_refused(op: Operator) -> None:
    answer = await op.http.post("/admin/v1/accounts", content=b"[1]")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


# ---- keys ---------------------------------------------------------------------------------


async def test_a_key_with_limits(op: Operator) -> None:
    limits = {
        "models": ["grok-imagine"],
        "spend_day_max": "1.50",
        "spend_month_max": None,
        "spend_total_max": "20.00",
        "requests_per_second_max": 5,
        "tasks_in_flight_max": 2,
    }
    made = await op.post(f"{op.account}/keys", name="site", expires_at=1_800_000_000, limits=limits)
    assert (made["name"], made["expires_at"], made["limits"]) == ("site", 1_800_000_000, limits)
    assert made["api_key"].endswith(made["hint"].removeprefix("…"))
    assert await op.last_audit() == (op.key_id, "key.create", made["id"])
    shown = await op.get(f"/keys/{made['id']}")
    spent = {"day": "0.00", "month": "0.00", "total": "0.00", "tasks_in_flight": 0}
    assert shown == {**made, "api_key": None, "usage": spent}
    audit = str(await op.get("/audit", subject=made["id"]))
    assert made["api_key"] not in audit


async def test_limits_change_one_by_one(op: Operator) -> None:
    made = await op.post(f"{op.account}/keys", limits={"spend_day_max": "1", "models": []})
    path = f"/admin/v1/keys/{made['id']}"
    changed = op.good(await op.http.patch(path, json={"limits": {"tasks_in_flight_max": 3}}))
    assert changed["limits"] == {**made["limits"], "tasks_in_flight_max": 3}
    lifted = op.good(await op.http.patch(path, json={"limits": {"models": None}, "name": "b"}))
    assert (lifted["limits"]["models"], lifted["limits"]["spend_day_max"]) == (None, "1.00")
    assert lifted["name"] == "b"
    dated = op.good(await op.http.patch(path, json={"expires_at": 1_700_000_001}))
    assert dated["expires_at"] == 1_700_000_001
    for_good = op.good(await op.http.patch(path, json={"expires_at": None}))
    assert (for_good["expires_at"], for_good["name"]) == (None, "b")
    assert await op.last_audit() == (op.key_id, "key.change", made["id"])


async def test_rotation_keeps_the_limits_and_what_was_spent_of_them(op: Operator) -> None:
    old = await op.post(f"{op.account}/keys", name="site", limits={"spend_total_max": "0.25"})
    app = new_app(op.world.gateway)
    order = {"model": "grok-imagine", "prompt": "p", "duration": 3}  # 0.15
    async with client_of(app, old["api_key"]) as before:
        assert (await before.post("/v1/videos", json=order)).status_code == 200
        new = await op.post(f"/keys/{old['id']}/rotate", overlap_s=3600)
        assert (new["name"], new["limits"]) == (old["name"], old["limits"])
        async with client_of(app, new["api_key"]) as after:
            for client in (before, after):  # together they have 0.10 left
                answer = await client.post("/v1/videos", json=order)
                assert answer.json()["error"]["code"] == "spend_limit_exceeded"
            assert (await after.post("/v1/videos", json={**order, "duration": 2})).is_success
        op.world.clock.advance_ms(3_600_000)
        async with client_of(new_app(op.world.gateway), old["api_key"]) as ended:
            assert (await ended.get("/v1/balance")).status_code == 401
    spent = (await op.get(f"/keys/{new['id']}"))["usage"]
    assert (spent["total"], spent["tasks_in_flight"]) == ("0.25", 2)
    ended_key = await op.refused(f"/keys/{old['id']}/rotate")
    assert ended_key == (400, "invalid_value", "key_id")


async def test_revocation_is_seen_within_the_cache_s_two_seconds(
    op: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = 0
    monkeypatch.setattr("reelgate.flows.authenticate.time.monotonic_ns", lambda: now_ns)
    made = await op.post(f"{op.account}/keys")
    async with client_of(new_app(op.world.gateway), made["api_key"]) as client:
        assert (await client.get("/v1/balance")).status_code == 200
        op.good(await op.http.delete(f"/admin/v1/keys/{made['id']}"))
        now_ns = 2_000_000_000
        assert (await client.get("/v1/balance")).status_code == 401


# ---- tasks --------------------------------------------------------------------------------


async def test_a_task_with_its_whole_history(op: Operator) -> None:
    op.world.provider.on_poll.append(Done("film", cost_ticks=123))
    task = await op.world.live(await op.world.submit(seconds=3))
    found = await op.get(f"/tasks/{task.id}")
    assert [(move["from"], move["to"]) for move in found["moves"]] == [
        ("queued", "sending"),
        ("sending", "running"),
        ("running", "collecting"),
        ("collecting", "completed"),
    ]
    assert [(row["kind"], row["amount"], row["from"], row["to"]) for row in found["ledger"]] == [
        ("hold", "0.15", "available", "held"),
        ("capture", "0.10", "held", "revenue"),
        ("release", "0.05", "held", "available"),
    ]
    settlement = found["settlement"]
    assert (settlement["outcome"], settlement["charged"]) == ("completed", "0.10")
    assert (settlement["upstream_cost"], settlement["loss"]) == ("0.0000000123", "0.00")
    assert found["task"]["upstream_cost_ticks"] == 123
    assert found["task"]["video"]["status"] == "completed"
    assert found["audit"] == []


async def test_tasks_are_found_by_account_state_and_upstream_ref(op: Operator) -> None:
    stranded = await op.stranded()
    done = await op.world.live(await op.world.submit())
    queued = await op.world.submit()
    account_id = op.world.caller.account_id

    async def ids(**params: str) -> list[str]:
        found = await op.get("/tasks", account_id=account_id, **params)
        return [task["id"] for task in found["data"]]

    assert await ids() == [queued.id, done.id, stranded.id]
    assert await ids(order="asc", limit="2") == [stranded.id, done.id]
    assert await ids(after=done.id) == [stranded.id]
    for task in (stranded, done, queued):
        state = (await op.world.look(task)).state
        assert await ids(state=state) == [task.id]
    ref = done.upstream_ref or ""
    assert await ids(upstream_ref=ref) == [done.id]
    answer = await op.http.get("/admin/v1/tasks", params={"state": "lost"})
    assert answer.json()["error"]["param"] == "state"


async def test_the_operator_cancels_with_a_trace(op: Operator) -> None:
    task = await op.world.submit()
    ended = await op.post(f"/tasks/{task.id}/cancel")
    assert (ended["state"], ended["held"]) == ("cancelled", "0.00")
    assert await op.last_audit() == (op.key_id, "task.cancel", task.id)
    assert await op.refused(f"/tasks/{task.id}/cancel") == (409, "not_cancellable", None)
    assert await op.world.balance() == (100_000_000, 0)
    assert [e["action"] for e in (await op.get(f"/tasks/{task.id}"))["audit"]] == ["task.cancel"]


@pytest.mark.parametrize("ran", [True, False])
async def test_a_stranded_task_that_has_nothing_to_give(op: Operator, ran: bool) -> None:
    task = await op.stranded()
    ended = await op.post(
        f"/tasks/{task.id}/resolve", outcome="failed", upstream_ran=ran, note="looked"
    )
    assert (ended["state"], ended["video"]["error"]["code"]) == ("failed", "outcome_unknown")
    settlement = await op.world.settlement(task)
    assert settlement is not None
    assert settlement.loss_micro == (100_000 if ran else 0)  # 2 x 0.05
    assert await op.world.balance() == (100_000_000, 0)
    assert await op.last_audit() == (op.key_id, "task.resolve", task.id)
    # The worker that still has it in hand changes nothing any more.
    assert await op.world.step(task) is None
    again = await op.refused(f"/tasks/{task.id}/resolve", outcome="queued")
    assert again == (409, "not_resolvable", None)


async def test_a_stranded_task_that_the_upstream_has(op: Operator) -> None:
    task = await op.stranded()
    op.world.clock.advance_ms(1_700_000)  # near its deadline
    after = await op.post(f"/tasks/{task.id}/resolve", outcome="running", upstream_ref="job-9")
    assert (after["state"], after["upstream_ref"], after["worker_id"]) == ("running", "job-9", None)
    assert after["deadline_at_ms"] == op.world.clock.now_ms() + 1_800_000
    assert await op.world.step(task) is None  # not in this worker's hands any more
    op.world.crash()
    op.world.clock.advance_ms(200_000)  # past the first deadline
    ended = await op.world.live(task)
    assert ended.state is State.COMPLETED
    assert op.world.provider.polls == ["job-9"]
    assert len(op.world.provider.jobs) == 1


async def test_a_stranded_task_that_is_sent_again(op: Operator) -> None:
    task = await op.stranded()
    after = await op.post(f"/tasks/{task.id}/resolve", outcome="queued", note="not there")
    assert (after["state"], after["upstream"]) == ("queued", None)
    op.world.crash()
    assert (await op.world.live(task)).state is State.COMPLETED
    assert len(op.world.provider.jobs) == 2


async def test_a_worker_that_waits_beside_the_operator_can_not_overwrite(op: Operator) -> None:
    task = await op.stranded()
    stale = op.world.drives[task.id]
    await op.post(f"/tasks/{task.id}/resolve", outcome="running", upstream_ref="job-9")
    op.world.clock.advance_ms(1_800_000)  # the old deadline: it would give the task up
    assert await op.world.step(task) is None
    assert (await op.world.look(task)).state is State.RUNNING
    assert stale.task.state is State.STRANDED


# ---- upstreams ----------------------------------------------------------------------------


async def test_an_upstream_is_switched_off_and_on(op: Operator) -> None:
    name = op.world.upstream.name
    off = await op.post(f"/upstreams/{name}/disable", note="invoice")
    (card,) = off["data"]
    assert (card["name"], card["enabled"], card["note"]) == (name, False, "invoice")
    assert await op.last_audit() == (op.key_id, "upstream.disable", name)
    task = await op.world.submit()
    await op.world.claim(task)
    assert await op.world.step(task) is not None
    assert op.world.provider.jobs == []
    on = await op.post(f"/upstreams/{name}/enable")
    assert (on["data"][0]["enabled"], on["data"][0]["disabled_at"]) == (True, None)
    assert (await op.world.live(task)).state is State.COMPLETED


async def test_other_nodes_follow_the_switch_by_their_chore(op: Operator) -> None:
    name, upstream = op.world.upstream.name, op.world.upstream
    await op.post(f"/upstreams/{name}/disable")
    upstream.disabled = False  # a node that has not looked yet
    assert await switches.refresh(op.world.gateway) == 0
    assert upstream.disabled
    await op.post(f"/upstreams/{name}/enable")
    upstream.disabled = True
    assert await switches.refresh(op.world.gateway) == 1
    assert not upstream.disabled


async def test_how_an_upstream_is_doing(op: Operator) -> None:
    await op.stranded()
    await op.world.live(await op.world.submit())
    op.world.provider.on_poll.append(Failed(Verdict.FAILED, "no"))
    await op.world.live(await op.world.submit())
    (card,) = (await op.get("/upstreams"))["data"]
    assert card["live"] == {"stranded": 1}
    assert (card["completed_last_hour"], card["failed_last_hour"]) == (1, 1)
    assert (card["kind"], card["models"]) == ("fake", {"grok-imagine": "fake-video"})


# ---- report -------------------------------------------------------------------------------


async def test_the_report_as_json_and_csv(op: Operator) -> None:
    op.world.provider.on_poll.append(Done("film", cost_ticks=500_000_001))
    await op.world.live(await op.world.submit())
    name = op.world.upstream.name
    found = await op.get("/report", group_by="upstream,account")
    mine = [row for row in found["data"] if row["upstream"] == name]
    assert [
        (row["account"], row["revenue"], row["upstream_cost"], row["margin"]) for row in mine
    ] == [(op.world.caller.account_id, "0.10", "0.0500000001", "0.0499999999")]
    answer = await op.http.get("/admin/v1/report?format=csv&group_by=upstream")
    header, *lines = answer.text.splitlines()
    assert header.startswith("upstream,tasks,completed,outcome_unknown,revenue_usd,")
    assert f"{name},1,1,0,0.10,0.0500000001,0.00,0.00,0.0499999999,0" in lines


# ---- audit --------------------------------------------------------------------------------


async def test_the_command_line_is_an_actor_too_and_pages_follow(op: Operator) -> None:
    account_id = op.world.caller.account_id
    await accounts.credit(op.world.gateway, account_id, 1, reference=None, note="")
    await op.post(f"{op.account}/credits", amount="1")
    first = await op.get("/audit", subject=account_id, limit="1")
    assert (first["data"][0]["actor"], first["has_more"]) == (op.key_id, True)
    second = await op.get("/audit", subject=account_id, limit="1", after=first["last_id"])
    assert (second["data"][0]["actor"], second["data"][0]["action"]) == ("local", "account.credit")


async def test_a_key_for_no_model_makes_nothing(op: Operator) -> None:
    made = await op.post(f"{op.account}/keys", limits={"models": []})
    key = await op.get(f"/keys/{made['id']}")
    assert key["limits"]["models"] == []
    order = {"model": "grok-imagine", "prompt": "p", "duration": 1}
    async with client_of(new_app(op.world.gateway), made["api_key"]) as client:
        answer = await client.post("/v1/videos", json=order)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "model_not_allowed")
