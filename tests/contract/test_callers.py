"""Who may do what: keys, funds and limits (contract, sections 5 and 7)."""

from __future__ import annotations

import time

import pytest

from reelgate.domain.money import parse_usd
from reelgate.flows.accounts import create_key, revoke_key
from reelgate.flows.gateway import Gateway
from reelgate.store.accounts import Limits
from tests.contract.asking import Ask, Untouched, check_refusal, create
from tests.support.live import Account, Live

UNKNOWN = "task_" + "a" * 32
KEYED = (
    ("GET", "/v1/videos"),
    ("POST", "/v1/videos"),
    ("POST", "/v1/videos/generations"),
    ("POST", "/v1/video/generations"),
    ("POST", "/v1/videos/edits"),
    ("POST", "/v1/videos/extensions"),
    ("POST", "/v1/videos/estimate"),
    ("GET", f"/v1/videos/{UNKNOWN}"),
    ("GET", f"/v1/videos/generations/{UNKNOWN}"),
    ("GET", f"/v1/video/generations/{UNKNOWN}"),
    ("DELETE", f"/v1/videos/{UNKNOWN}"),
    ("GET", f"/v1/videos/{UNKNOWN}/content"),
    ("GET", f"/v1/videos/{UNKNOWN}/events"),
    ("POST", f"/v1/videos/{UNKNOWN}/cancel"),
    ("POST", f"/v1/videos/{UNKNOWN}/remix"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/grok-imagine"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/images/edits"),
    ("GET", "/v1/balance"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/ledger"),
)


@pytest.mark.parametrize(("method", "path"), KEYED)
def test_a_route_wants_a_key_before_anything_else(live: Live, method: str, path: str) -> None:
    answer = Ask(method, path, content=b"{" if method == "POST" else None).send(live.client())
    check_refusal(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/pricing"]
)
def test_a_public_route_wants_none(live: Live, path: str) -> None:
    assert live.client().get(path).status_code == 200
    assert live.client("sk-nonsense").get(path).status_code == 200


def test_every_bad_key_gets_the_same_answer(either: Live) -> None:
    account = either.account()

    async def spent_keys(gateway: Gateway) -> tuple[str, str, str]:
        revoked = await create_key(gateway, account.id)
        await revoke_key(gateway, revoked.key.id)
        expired = await create_key(gateway, account.id, expires_at_ms=gateway.clock.now_ms() - 1)
        admin = await create_key(gateway, None)
        return revoked.secret, expired.secret, admin.secret

    revoked, expired, admin = either.run(spent_keys)
    typo = account.key[:-1] + ("a" if account.key[-1] != "a" else "b")
    bad = {
        "absent": None,
        "empty": "",
        "another scheme": f"Basic {account.key}",
        "no scheme": account.key,
        "malformed": "Bearer sk-test",
        "not ASCII": "Bearer sk-schlüssel",
        "a typo": f"Bearer {typo}",
        "revoked": f"Bearer {revoked}",
        "expired": f"Bearer {expired}",
        "an operator's": f"Bearer {admin}",
        "long": f"Bearer sk-{'x' * 10_000}",
    }
    answers = {}
    for why, header in bad.items():
        headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
        answer = either.client().get("/v1/videos", headers=headers)
        check_refusal(answer, 401, "invalid_api_key")
        answers[why] = answer.content
    assert len(set(answers.values())) == 1, answers


def test_a_key_is_read_as_generously_as_http_allows(live: Live) -> None:
    account = live.account()
    for header in (f"bearer {account.key}", f"BEARER   {account.key}"):
        answer = live.client().get("/v1/videos", headers={"authorization": header})
        assert answer.status_code == 200


def test_a_revoked_key_stops_working_within_five_seconds(live: Live) -> None:
    account = live.account()

    async def another(gateway: Gateway) -> tuple[str, str]:
        made = await create_key(gateway, account.id)
        return made.key.id, made.secret

    key_id, secret = live.run(another)
    client = live.client(secret)
    assert client.get("/v1/videos").status_code == 200
    live.run(lambda gateway: revoke_key(gateway, key_id))

    deadline = time.monotonic() + 5
    while client.get("/v1/videos").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    check_refusal(client.get("/v1/videos"), 401, "invalid_api_key")
    assert account.http.get("/v1/videos").status_code == 200


# ---- funds --------------------------------------------------------------------------------


def test_a_task_that_can_not_be_paid_is_refused(either: Live) -> None:
    account = either.account("0.41")
    untouched = Untouched(account)
    answer = create(duration=6, size="720p").send(account.http)  # 6 s at 0.07
    message = check_refusal(answer, 402, "insufficient_balance")
    assert "0.42 USD" in message
    assert "0.41 USD" in message
    untouched.check()


def test_the_last_cent_can_be_spent(either: Live) -> None:
    account = either.account("0.42")
    task = account.create(duration=6, size="720p", prompt="[sandbox:slow=600]")
    assert task["billing"]["max_cost"] == "0.42"
    assert account.balance() == ("0.00", "0.42")
    account.cancelled(task["id"])
    assert account.balance() == ("0.42", "0.00")


def test_an_estimate_costs_nothing_and_needs_no_funds(either: Live) -> None:
    account = either.account("0")
    answer = account.http.post("/v1/videos/estimate", json=create(duration=15).json)
    assert answer.status_code == 200
    assert answer.json()["billing"]["max_cost"] == "0.75"
    assert account.tasks() == []


# ---- limits of a key ----------------------------------------------------------------------


def test_a_key_has_its_models(either: Live) -> None:
    account = either.account(limits=Limits(models=()))
    untouched = Untouched(account)
    answer = create().send(account.http)
    message = check_refusal(answer, 403, "model_not_allowed", "model")
    assert "grok-imagine" in message
    untouched.check()


@pytest.mark.parametrize(
    "limits",
    [
        Limits(spend_day_max_micro=parse_usd("0.09")),
        Limits(spend_month_max_micro=parse_usd("0.09")),
        Limits(spend_total_max_micro=parse_usd("0.09")),
    ],
    ids=["day", "month", "total"],
)
def test_a_key_has_its_budget(either: Live, limits: Limits) -> None:
    account = either.account(limits=limits)
    first = account.create(prompt="[sandbox:slow=600]")  # 0.05
    untouched = Untouched(account)
    message = check_refusal(create().send(account.http), 402, "spend_limit_exceeded")
    assert "0.09 USD" in message
    untouched.check()
    account.cancelled(first["id"])  # what is not made gives its part of the budget back
    account.create(prompt="[sandbox:fail]")


def test_a_key_has_its_tasks_in_flight(either: Live) -> None:
    account = either.account(limits=Limits(tasks_in_flight_max=1))
    first = account.create(prompt="[sandbox:slow=600]")
    untouched = Untouched(account)
    answer = create().send(account.http)
    check_refusal(answer, 429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert answer.headers.get("x-should-retry") != "false"  # nothing was made: do come again
    untouched.check()
    account.cancelled(first["id"])
    account.create(prompt="[sandbox:refuse]")


# ---- other people's tasks -----------------------------------------------------------------


@pytest.fixture(scope="module")
def strangers(either: Live) -> tuple[Account, str]:
    """An account, and a completed task of another one."""
    return either.account(), either.account().made()["id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/videos/{}"),
        ("GET", "/v1/videos/generations/{}"),
        ("GET", "/v1/videos/{}/content"),
        ("GET", "/v1/videos/{}/content?variant=thumbnail"),
        ("GET", "/v1/videos/{}/events"),
        ("DELETE", "/v1/videos/{}"),
        ("POST", "/v1/videos/{}/cancel"),
        ("POST", "/v1/videos/{}/remix"),
    ],
)
def test_a_foreign_task_is_as_good_as_none(
    strangers: tuple[Account, str], method: str, path: str
) -> None:
    account, task_id = strangers
    body = {"prompt": "x"} if path.endswith("remix") else None
    foreign = account.http.request(method, path.format(task_id), json=body)
    unknown = account.http.request(method, path.format(UNKNOWN), json=body)
    message = check_refusal(foreign, 404, "task_not_found")
    assert message.replace(task_id, UNKNOWN) == check_refusal(unknown, 404, "task_not_found")
    assert account.balance() == ("100.00", "0.00")


def test_a_foreign_task_is_no_source(strangers: tuple[Account, str]) -> None:
    account, task_id = strangers
    ask = create(video={"id": task_id}, duration=None)
    check_refusal(ask.send(account.http), 404, "task_not_found", "video")
    assert account.tasks() == []


def test_a_foreign_task_is_no_place_in_a_list(strangers: tuple[Account, str]) -> None:
    account, task_id = strangers
    answer = account.http.get(f"/v1/videos?after={task_id}")
    check_refusal(answer, 400, "invalid_value", "after")
