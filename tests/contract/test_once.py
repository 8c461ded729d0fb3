"""Creating once: Idempotency-Key and the retries of OpenAI's SDKs (contract, section 6)."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.contract.asking import Ask, check_refusal, create
from tests.support.live import Account, Live

FAILING: dict[str, Any] = {
    "model": "grok-imagine", "prompt": "[sandbox:refuse]", "duration": 1,
}  # fmt: skip
SLOW = {**FAILING, "prompt": "[sandbox:slow=600]"}


def post(account: Account, body: Any, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return account.http.post("/v1/videos", json=body, headers=names)


def test_the_same_key_finds_the_same_task(either: Live) -> None:
    account = either.account()
    key = uuid4().hex
    first = post(account, SLOW, idempotency_key=key)
    again = post(account, SLOW, idempotency_key=key)
    assert first.status_code == again.status_code == 200
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert account.balance() == ("99.95", "0.05")
    account.cancelled(first.json()["id"])
    late = post(account, SLOW, idempotency_key=key)
    assert late.json()["status"] == "failed"  # the task as it is now
    assert len(account.tasks()) == 1


def test_a_key_is_the_accounts_own(either: Live) -> None:
    one, other = either.account(), either.account()
    key = uuid4().hex
    first, second = (post(account, FAILING, idempotency_key=key) for account in (one, other))
    assert first.json()["id"] != second.json()["id"]
    assert "idempotent-replayed" not in second.headers


def test_a_key_for_another_order_is_refused(either: Live) -> None:
    account = either.account()
    key = uuid4().hex
    first = post(account, FAILING, idempotency_key=key)
    answer = post(account, {**FAILING, "duration": 2}, idempotency_key=key)
    check_refusal(answer, 422, "idempotency_key_reused", "Idempotency-Key")
    assert [task["id"] for task in account.tasks()] == [first.json()["id"]]


@pytest.mark.parametrize("key", ["k", "k" * 255, 'ö "quoted", and; odd', "0"])
def test_keys_may_be_any_text(live: Live, key: str) -> None:
    account = live.account()
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    ids = {
        account.http.post("/v1/videos", json=FAILING, headers=headers).json()["id"]
        for _ in range(2)
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    "path",
    ["/v1/videos", "/v1/videos/generations", "/v1/video/generations"],
)
def test_every_creating_route_knows_keys(live: Live, path: str) -> None:
    account = live.account()
    headers = {"idempotency-key": "one"}
    first = account.http.post(path, json=FAILING, headers=headers)
    again = account.http.post("/v1/videos", json=FAILING, headers=headers)
    assert again.json()["id"] == first.json()["id"]


def test_remix_edits_and_extensions_know_keys(live: Live) -> None:
    account = live.account()
    source = account.made(duration=2)["id"]
    for path, body in (
        (f"/v1/videos/{source}/remix", {"prompt": "[sandbox:refuse]"}),
        ("/v1/videos/edits", {"prompt": "[sandbox:refuse] edit", "video": {"id": source}}),
        (
            "/v1/videos/extensions",
            {"prompt": "[sandbox:refuse]", "video": {"id": source}, "seconds": "2"},
        ),
    ):
        headers = {"idempotency-key": path}
        ids = {account.http.post(path, json=body, headers=headers).json()["id"] for _ in range(2)}
        assert len(ids) == 1


def test_a_refused_request_does_not_use_up_its_key(either: Live) -> None:
    account = either.account("0.05")
    key = uuid4().hex
    too_dear = post(account, {**FAILING, "duration": 2}, idempotency_key=key)
    check_refusal(too_dear, 402, "insufficient_balance")
    wrong = post(account, {**FAILING, "duration": 99}, idempotency_key=key)
    check_refusal(wrong, 400, "invalid_value", "duration")
    assert post(account, FAILING, idempotency_key=key).status_code == 200
    assert len(account.tasks()) == 1


def test_a_replay_needs_no_funds(either: Live) -> None:
    account = either.account("0.05")
    key = uuid4().hex
    first = post(account, SLOW, idempotency_key=key)
    assert account.balance() == ("0.00", "0.05")
    assert post(account, SLOW, idempotency_key=key).json()["id"] == first.json()["id"]
    check_refusal(post(account, SLOW), 402, "insufficient_balance")
    account.cancelled(first.json()["id"])


async def _at_once(live: Live, account: Account, headers: dict[str, str], count: int) -> Any:
    """Equal requests from as many connections, in flight together; each in another boundary."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(
        base_url=live.url, limits=limits, timeout=40, trust_env=False
    ) as client:

        async def ask(n: int) -> httpx.Response:
            parts = [(name, (None, str(value))) for name, value in FAILING.items()]
            boundary = f"boundary-{n}-{uuid4().hex}"
            return await client.post(
                "/v1/videos",
                files=parts,
                headers={
                    "authorization": f"Bearer {account.key}",
                    "content-type": f"multipart/form-data; boundary={boundary}",
                    **headers,
                },
            )

        return await asyncio.gather(*(ask(n) for n in range(count)))


@pytest.mark.parametrize(
    "headers",
    [{"idempotency-key": "the one"}, {"x-stainless-retry-count": "1"}],
    ids=["key", "retry"],
)
def test_a_hundred_at_once_are_one_task(either: Live, headers: dict[str, str]) -> None:
    account = either.account()
    answers = asyncio.run(_at_once(either, account, headers, 100))
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert replayed.count(None) == 1
    assert replayed.count("true") == 99
    tasks = account.tasks()
    assert len(tasks) == 1
    account.ended(tasks[0]["id"])
    assert account.balance() == ("100.00", "0.00")


def test_a_hundred_at_once_without_a_key_are_a_hundred(live: Live) -> None:
    account = live.account()
    answers = asyncio.run(_at_once(live, account, {}, 100))
    assert len({answer.json()["id"] for answer in answers}) == 100


# ---- the SDKs' own retries ----------------------------------------------------------------


def test_a_retry_of_an_sdk_finds_what_its_first_try_made(either: Live) -> None:
    account = either.account()
    first = post(account, FAILING, x_stainless_retry_count="0")
    for count in ("1", "2"):
        again = post(account, FAILING, x_stainless_retry_count=count)
        assert again.json()["id"] == first.json()["id"]
        assert again.headers["idempotent-replayed"] == "true"
    as_form = Ask(
        form={name: str(value) for name, value in FAILING.items()},
        headers={"x-stainless-retry-count": "1"},
    )
    assert as_form.send(account.http).json()["id"] == first.json()["id"]
    assert len(account.tasks()) == 1


def test_a_retry_whose_first_try_never_came_makes_the_task(either: Live) -> None:
    account = either.account()
    first = post(account, FAILING, x_stainless_retry_count="1")
    assert "idempotent-replayed" not in first.headers
    again = post(account, FAILING, x_stainless_retry_count="2")
    assert again.json()["id"] == first.json()["id"]


def test_a_second_wish_for_the_same_is_no_retry(either: Live) -> None:
    account = either.account()
    ids = {
        post(account, FAILING, **headers).json()["id"]
        for headers in ({}, {}, {"x_stainless_retry_count": "0"}, {"x_stainless_retry_count": "x"})
    }
    assert len(ids) == 4


def test_a_retry_of_another_order_or_account_is_its_own(either: Live) -> None:
    account, other = either.account(), either.account()
    first = post(account, FAILING)
    longer = post(account, {**FAILING, "duration": 2}, x_stainless_retry_count="1")
    foreign = post(other, FAILING, x_stainless_retry_count="1")
    assert len({answer.json()["id"] for answer in (first, longer, foreign)}) == 3


def test_the_newest_equal_create_is_the_one_retried(either: Live) -> None:
    account = either.account()
    post(account, FAILING)
    second = post(account, FAILING)
    again = post(account, FAILING, x_stainless_retry_count="1")
    assert again.json()["id"] == second.json()["id"]


def test_a_made_task_says_that_it_must_not_be_sent_again(either: Live) -> None:
    account = either.account()
    for answer in (
        create(prompt="[sandbox:refuse]").send(account.http),
        post(account, FAILING, idempotency_key="k"),
        post(account, FAILING, idempotency_key="k"),
        post(account, FAILING, prefer="wait=5"),
    ):
        assert answer.status_code == 200
        assert answer.headers["x-should-retry"] == "false"
        json.loads(answer.content)


@pytest.mark.parametrize("headers", [{"idempotency-key": "k"}, {"x-stainless-retry-count": "1"}])
def test_a_replay_finds_its_task_though_its_source_is_gone(
    either: Live, headers: dict[str, str]
) -> None:
    account = either.account()
    source = account.made(prompt=f"a source {headers}")["id"]
    body = {"prompt": "[sandbox:refuse]", "video": {"id": source}}
    first = account.http.post("/v1/videos/edits", json=body, headers=headers)
    assert first.status_code == 200, first.text
    assert account.http.delete(f"/v1/videos/{source}").status_code == 200
    again = account.http.post("/v1/videos/edits", json=body, headers=headers)
    assert again.json().get("id") == first.json()["id"], again.text
    assert again.headers["idempotent-replayed"] == "true"
    check_refusal(account.http.post("/v1/videos/edits", json=body), 404, "task_not_found", "video")
    other = {**body, "prompt": "[sandbox:refuse] another"}
    check_refusal(
        account.http.post("/v1/videos/edits", json=other, headers=headers),
        404, "task_not_found", "video",
    )  # fmt: skip
