"""Waiting well: hints for those who poll, held answers, event streams, a thousand waiters."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import httpx
import pytest

from reelgate.domain.task import State, Task
from reelgate.flows.accounts import create_key
from reelgate.store.database import Database, Reader
from tests.contract.asking import check_refusal
from tests.support.http import new_app
from tests.support.live import Account, Live
from tests.support.world import World

T = TypeVar("T")
WAITERS = 1_000
SLOW, ENDLESS = "[sandbox:slow=0.3][sandbox:fail]", "[sandbox:slow=600]"


# ---- hints --------------------------------------------------------------------------------


def test_a_pending_answer_says_when_to_ask_again(api: Account) -> None:
    answer = api.http.post(
        "/v1/videos", json={"model": "grok-imagine", "prompt": ENDLESS, "duration": 1}
    )
    path = f"/v1/videos/{answer.json()['id']}"
    for pending in (answer, api.http.get(path), api.http.get(path)):
        after_ms = int(pending.headers["openai-poll-after-ms"])
        assert 2_000 <= after_ms <= 5_000
        assert int(pending.headers["retry-after"]) * 1000 >= after_ms
    api.cancelled(answer.json()["id"])
    ended = api.http.get(path)
    assert ended.json()["status"] == "failed"
    assert "openai-poll-after-ms" not in ended.headers
    assert "retry-after" not in ended.headers


# ---- Prefer: wait -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefer", ["wait=30", "respond-async, wait=30", 'Wait="30"', "wait = 30; foo"]
)
def test_a_held_answer_is_the_end(api: Account, prefer: str) -> None:
    created = api.http.post(
        "/v1/videos",
        json={"model": "grok-imagine", "prompt": SLOW, "duration": 1},
        headers={"prefer": prefer},
    )
    assert created.json()["status"] == "failed"
    assert created.headers["x-should-retry"] == "false"
    task = api.create(prompt=SLOW)
    began = time.monotonic()
    answer = api.http.get(f"/v1/videos/{task['id']}", headers={"prefer": prefer})
    assert answer.json()["status"] == "failed"
    assert time.monotonic() - began < 25


def test_a_held_answer_comes_when_its_time_is_over(api: Account) -> None:
    task = api.create(prompt=ENDLESS)
    began = time.monotonic()
    answer = api.http.get(f"/v1/videos/{task['id']}", headers={"prefer": "wait=1"})
    assert 0.9 < time.monotonic() - began < 20
    assert answer.json()["status"] in {"queued", "in_progress"}
    assert "openai-poll-after-ms" in answer.headers
    api.cancelled(task["id"])


@pytest.mark.parametrize(
    "prefer", ["wait=0", "wait=soon", "await=9", "wait=-1", "", "return=minimal"]
)
def test_what_is_no_wait_is_not_waited_for(api: Account, prefer: str) -> None:
    task = api.create(prompt=ENDLESS)
    began = time.monotonic()
    answer = api.http.get(f"/v1/videos/{task['id']}", headers={"prefer": prefer})
    assert answer.json()["status"] in {"queued", "in_progress"}
    assert time.monotonic() - began < 8
    api.cancelled(task["id"])


# ---- events -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    id: int
    kind: str
    data: dict[str, Any]


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream, read as the standard says."""
    fields = dict[str, str]()
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields.clear()


def stream(account: Account, task_id: str, last: int | None = None) -> list[Event]:
    headers = {} if last is None else {"last-event-id": str(last)}
    with account.http.stream("GET", f"/v1/videos/{task_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"].startswith("req_")
        return list(events(answer.iter_lines()))


def test_a_stream_tells_a_whole_life(either: Live) -> None:
    account = either.account()
    task = account.create(duration=3, size="720p")
    told = stream(account, task["id"])
    assert told[0].kind == "queued"
    assert told[-1].kind == "completed"
    assert {event.kind for event in told} == {"queued", "in_progress", "completed"}
    assert [event.id for event in told] == sorted({event.id for event in told})
    assert all(event.data["status"] == event.kind for event in told)
    progress = [event.data["progress"] for event in told]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    assert progress[-2] < 100
    assert told[-1].data == account.http.get(f"/v1/videos/{task['id']}").json()
    assert told[-1].data["metadata"]["url"]


def test_a_stream_goes_on_where_it_broke_off(either: Live) -> None:
    account = either.account()
    task = account.create(prompt=ENDLESS)
    with account.http.stream("GET", f"/v1/videos/{task['id']}/events") as answer:
        first = next(events(answer.iter_lines()))
    account.cancelled(task["id"])
    assert first.kind in {"queued", "in_progress"}
    rest = stream(account, task["id"], last=first.id)
    assert all(event.id > first.id for event in rest)
    assert rest[-1].kind == "failed"
    whole = stream(account, task["id"])
    assert [event.kind for event in whole] == ["failed"]
    assert whole == rest[-1:]


def test_nothing_more_is_to_come_after_the_end(either: Live) -> None:
    """204 is how a client that comes back by itself is told to stay away."""
    account = either.account()
    task = account.ended(account.create(prompt="[sandbox:fail]")["id"])
    last = stream(account, task["id"])[-1].id
    answer = account.http.get(
        f"/v1/videos/{task['id']}/events", headers={"last-event-id": str(last)}
    )
    assert (answer.status_code, answer.content) == (204, b"")


def test_head_does_not_wait_for_events(api: Account) -> None:
    task = api.create(prompt=ENDLESS)
    answer = api.http.head(f"/v1/videos/{task['id']}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    began = time.monotonic()
    assert api.http.get("/v1/models").status_code == 200  # on the same connection
    assert time.monotonic() - began < 8
    api.cancelled(task["id"])


@pytest.mark.parametrize("last", ["x", "-1", "9" * 30, ""])
def test_a_strange_last_event_id_is_none(api: Account, last: str) -> None:
    task = api.ended(api.create(prompt="[sandbox:fail]")["id"])
    answer = api.http.get(f"/v1/videos/{task['id']}/events", headers={"last-event-id": last})
    assert answer.status_code == 200
    assert "event: failed" in answer.text


def test_a_task_of_nobody_has_no_stream(api: Account) -> None:
    answer = api.http.get(f"/v1/videos/task_{'a' * 32}/events")
    check_refusal(answer, 404, "task_not_found")


# ---- a thousand waiters -------------------------------------------------------------------


class Counting:
    """A database that counts what is read."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def read(self, fn: Callable[[Reader], T]) -> T:
        self.reads += 1
        return await self._db.read(fn)

    async def point(self, fn: Callable[[Reader], T]) -> T:
        self.reads += 1
        return await self._db.point(fn)


async def _waiting(world: World, task: Task, path: str, headers: dict[str, str]) -> tuple[int, int]:
    """(reads while nothing happened, reads by the change) of a thousand waiters on one task."""
    counting = Counting(world.gateway.db)
    gateway = replace(world.gateway, db=cast(Database, counting))
    key = await create_key(gateway, world.caller.account_id)
    app = new_app(gateway)
    sent = {"authorization": f"Bearer {key.secret}", **headers}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gate.test", limits=limits, timeout=40
    ) as client:
        waiters = [asyncio.create_task(client.get(path, headers=sent)) for _ in range(WAITERS)]
        watch = gateway.watch
        while len(watch._waiters.get(task.id, ())) < WAITERS:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        before = counting.reads
        await asyncio.sleep(0.6)
        idle = counting.reads - before
        await world.live(task)
        answers = await asyncio.gather(*waiters)
    assert {answer.status_code for answer in answers} == {200}
    assert all('"completed"' in answer.text for answer in answers)
    assert watch.watched() == []
    return idle, counting.reads - before - idle


async def test_a_thousand_held_answers_do_not_poll(world: World) -> None:
    task = await world.live(await world.submit(), State.RUNNING)
    idle, woken = await _waiting(world, task, f"/v1/videos/{task.id}", {"prefer": "wait=30"})
    assert idle == 0
    assert woken <= 3 * WAITERS  # each looks when there is something to see


async def test_a_thousand_streams_do_not_poll(world: World) -> None:
    task = await world.live(await world.submit(), State.RUNNING)
    idle, woken = await _waiting(world, task, f"/v1/videos/{task.id}/events", {})
    assert idle == 0
    assert woken <= 3 * WAITERS
