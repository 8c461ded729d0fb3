"""How a task ends, and how it is ended: failures, cancel, delete (contract, sections 1 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.asking import check_refusal
from tests.support.live import Account, Live, live_server

DEADLINE_S = 3
FIELDS = (
    "id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at",
    "prompt", "size", "seconds", "remixed_from_video_id", "error",
    "task_id", "operation", "aspect_ratio", "metadata", "billing",
)  # fmt: skip


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A gateway that gives tasks up soon; its upstream may be as bad as it likes."""
    folder = tmp_path_factory.mktemp("hurried")
    with live_server(folder, REELGATE_TASK_DEADLINE_S=str(DEADLINE_S)) as server:
        yield server


# (tags, the error's code, a piece of its message)
BAD_ENDS = [
    ("[sandbox:fail]", "task_failed", "told to fail"),
    ("[sandbox:refuse]", "task_failed", "told to fail"),
    ("[sandbox:moderated]", "content_policy_violation", "moderation"),
    ("[sandbox:moderated][sandbox:refuse]", "content_policy_violation", "moderation"),
    ("[sandbox:expired]", "expired", "expire"),
    ("[sandbox:input-unreachable]", "input_unreachable", "fetch an input"),
    ("[sandbox:nonsense]", "invalid_input", "[sandbox:nonsense]"),
    ("[sandbox:slow=600]", "expired", "deadline"),
    ("[sandbox:no-cancel][sandbox:slow=600]", "expired", "deadline"),
    ("[sandbox:lost-reply]", "outcome_unknown", ""),
    ("[sandbox:busy=1000000]", "expired", "deadline"),
]
GOOD_ENDS = ["[sandbox:truncated=1]", "[sandbox:slow=0.3][sandbox:no-progress]", "[sandbox:cost=7]"]


@pytest.fixture(scope="module")
def ends(hurried: Live) -> tuple[Account, dict[str, dict[str, Any]]]:
    """One task for each row, begun together, and how each has ended."""
    account = hurried.account()
    begun = {row[0]: account.create(prompt=f"a boat {row[0]}")["id"] for row in BAD_ENDS}
    return account, {tags: account.ended(task_id) for tags, task_id in begun.items()}


@pytest.mark.parametrize(("tags", "code", "says"), BAD_ENDS, ids=[row[0] for row in BAD_ENDS])
def test_a_bad_end(
    ends: tuple[Account, dict[str, dict[str, Any]]], tags: str, code: str, says: str
) -> None:
    task = ends[1][tags]
    assert set(task) == set(FIELDS)
    assert (task["status"], task["progress"]) == ("failed", 100)
    assert (task["completed_at"], task["expires_at"], task["metadata"]) == (None, None, {})
    assert set(task["error"]) == {"code", "message"}
    assert task["error"]["code"] == code
    assert says in task["error"]["message"]
    assert task["prompt"] == f"a boat {tags}"
    billing = task["billing"]
    assert (billing["max_cost"], billing["cost"], billing["items"]) == ("0.05", "0.00", [])


@pytest.mark.parametrize("tags", GOOD_ENDS)
def test_a_good_end(live: Live, tags: str) -> None:
    account = live.account()
    task = account.made(prompt=f"a boat {tags}")
    assert set(task) == set(FIELDS)
    assert (task["status"], task["progress"], task["error"]) == ("completed", 100, None)
    assert task["completed_at"] >= task["created_at"]
    assert task["expires_at"] == task["completed_at"] + 7 * 86_400
    assert task["billing"]["cost"] == "0.05"
    assert account.balance() == ("99.95", "0.00")


def test_what_was_not_made_is_not_paid(ends: tuple[Account, dict[str, dict[str, Any]]]) -> None:
    account, _ = ends
    assert account.balance() == ("100.00", "0.00")


# ---- cancel -------------------------------------------------------------------------------


def cancel(account: Account, task_id: str) -> Any:
    return account.http.post(f"/v1/videos/{task_id}/cancel")


def until(account: Account, task_id: str, status: str) -> dict[str, Any]:
    """The task in this status, told by its event stream."""
    with account.http.stream("GET", f"/v1/videos/{task_id}/events") as stream:
        for line in stream.iter_lines():
            if line == f"event: {status}":
                break
        else:
            raise AssertionError(f"{task_id} never was {status}")
    task: dict[str, Any] = account.http.get(f"/v1/videos/{task_id}").json()
    return task


def check_cancelled(account: Account, answer: Any) -> None:
    assert answer.status_code == 200, answer.text
    task = answer.json()
    assert (task["status"], task["progress"]) == ("failed", 100)
    assert task["error"]["code"] == "cancelled"
    assert task["billing"]["cost"] == "0.00"
    assert account.balance() == ("100.00", "0.00")
    again = account.http.get(f"/v1/videos/{task['id']}").json()
    assert again == task


def test_a_queued_task_is_cancelled_for_free(hurried: Live) -> None:
    account = hurried.account()
    task = account.create(prompt="[sandbox:busy=1000000]")
    check_cancelled(account, cancel(account, task["id"]))


def test_a_running_task_is_cancelled_where_the_upstream_stops_it(live: Live) -> None:
    account = live.account()
    task = account.create(prompt="[sandbox:slow=600]")
    until(account, task["id"], "in_progress")
    check_cancelled(account, cancel(account, task["id"]))


def test_a_running_task_goes_on_where_the_upstream_does_not(live: Live) -> None:
    account = live.account()
    task = account.create(prompt="[sandbox:slow=2][sandbox:no-cancel]")
    until(account, task["id"], "in_progress")
    answer = cancel(account, task["id"])
    message = check_refusal(answer, 409, "not_cancellable")
    assert answer.headers["x-should-retry"] == "false"
    assert "upstream" in message
    assert account.ended(task["id"])["status"] == "completed"
    assert account.balance() == ("99.95", "0.00")


def test_a_task_whose_outcome_is_open_is_not_cancelled(live: Live) -> None:
    account = live.account()
    task = account.create(prompt="[sandbox:lost-reply]")
    until(account, task["id"], "in_progress")
    answer = cancel(account, task["id"])
    check_refusal(answer, 409, "not_cancellable")
    assert answer.headers["x-should-retry"] == "false"
    assert account.balance() == ("99.95", "0.05")


@pytest.mark.parametrize(
    ("prompt", "word"), [("a boat", "completed"), ("[sandbox:fail]", "failed")]
)
def test_an_ended_task_is_not_cancelled(live: Live, prompt: str, word: str) -> None:
    account = live.account()
    task = account.ended(account.create(prompt=prompt)["id"])
    answer = cancel(account, task["id"])
    assert word in check_refusal(answer, 409, "not_cancellable")
    assert answer.headers["x-should-retry"] == "false"
    assert account.http.get(f"/v1/videos/{task['id']}").json() == task


def test_a_task_can_be_cancelled_at_any_moment_that_it_says_queued(live: Live) -> None:
    """The moment in which it is sent to the upstream is no exception."""
    account = live.account()
    for _ in range(20):
        task = account.create(prompt="[sandbox:slow=600]")
        assert task["status"] == "queued"
        check_cancelled(account, cancel(account, task["id"]))


def test_cancelling_twice_cancels_once(live: Live) -> None:
    account = live.account()
    task = account.create(prompt="[sandbox:slow=600]")
    check_cancelled(account, cancel(account, task["id"]))
    check_refusal(cancel(account, task["id"]), 409, "not_cancellable")
    assert account.balance() == ("100.00", "0.00")


# ---- delete -------------------------------------------------------------------------------


def test_an_unfinished_task_is_not_deleted_but_the_way_out_is_named(live: Live) -> None:
    account = live.account()
    task = account.create(prompt="[sandbox:slow=600]")
    answer = account.http.delete(f"/v1/videos/{task['id']}")
    message = check_refusal(answer, 409, "not_cancellable")
    assert f"POST /v1/videos/{task['id']}/cancel" in message
    assert answer.headers["x-should-retry"] == "false"
    check_cancelled(account, cancel(account, task["id"]))
    gone = account.http.delete(f"/v1/videos/{task['id']}")
    assert gone.json() == {"id": task["id"], "object": "video.deleted", "deleted": True}
    assert account.tasks() == []


def test_a_deleted_source_is_no_source(live: Live) -> None:
    account = live.account()
    task = account.made()
    account.http.delete(f"/v1/videos/{task['id']}")
    body = {"prompt": "x", "video": {"id": task["id"]}}
    answer = account.http.post("/v1/videos/edits", json=body)
    check_refusal(answer, 404, "task_not_found", "video")
    answer = account.http.post(f"/v1/videos/{task['id']}/remix", json={"prompt": "x"})
    check_refusal(answer, 404, "task_not_found")


def test_an_openai_sdk_may_say_json_of_no_body(live: Live) -> None:
    """Its `delete` sends a content type without content."""
    account = live.account()
    task = account.ended(account.create(prompt="[sandbox:fail]")["id"])
    answer = account.http.request(
        "DELETE", f"/v1/videos/{task['id']}", headers={"content-type": "application/json"}
    )
    assert answer.json()["deleted"] is True
