"""Many workers on one PostgreSQL, one on a SQLite file: shared work, death, and standing still."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.aftermath import open_account, wrongs
from tests.support.load import Api, Request
from tests.support.processes import Server, Zygote, until

LEASE_S = 3
TAKE_OVER_S = 30
SOON_S = 20
TASKS = 12


class Installation:
    """The processes on one database, and a customer at the door of the first."""

    def __init__(self, zygote: Zygote, folder: Path, database_url: str) -> None:
        self.folder, self._zygote = folder, zygote
        self.env = {"REELGATE_DATABASE_URL": database_url, "REELGATE_LEASE_S": str(LEASE_S)}
        _, self._key = open_account(folder, **self.env)
        self.door = zygote.serve(folder, "--role", "api", log="api", **self.env)
        assert self.door.url is not None
        self.api = Api(self.door.url, self._key)

    def worker(self, name: str, **env: str) -> Server:
        return self._zygote.work(self.folder, log=name, **{**self.env, **env})

    def create(self, count: int, prompt: str) -> list[str]:
        requests = [Request(f"{prompt} {n}") for n in range(count)]
        for request in requests:
            request.send(self.api)
        return [request.task_id or "" for request in requests]

    def all_are(self, status: str, ids: list[str]) -> bool:
        return all(self.api.task(task_id)["status"] == status for task_id in ids)


@pytest.fixture
def many(zygote: Zygote, postgres_url: str, tmp_path: Path) -> Installation:
    return Installation(zygote, tmp_path, postgres_url)


def test_workers_share_the_work_and_outlive_each_other(many: Installation) -> None:
    # A small batch leaves something for the other.
    first = many.worker("first", REELGATE_CLAIM_BATCH="1")
    second = many.worker("second", REELGATE_CLAIM_BATCH="1")
    ids = many.create(TASKS, "a boat [sandbox:slow=5]")
    until(lambda: many.all_are("in_progress", ids), SOON_S)
    assert "to_state=running" in first.log()
    assert "to_state=running" in second.log()

    first.kill()
    killed_at = time.monotonic()
    until(lambda: many.all_are("completed", ids), TAKE_OVER_S, second.log)
    assert time.monotonic() - killed_at < TAKE_OVER_S
    assert (second.stop(), many.door.stop()) == (0, 0)
    assert wrongs(many.folder, **many.env) == []


def test_a_worker_that_stood_still_changes_nothing(many: Installation) -> None:
    frozen = many.worker("frozen")
    ids = many.create(TASKS // 2, "a boat [sandbox:slow=2]")
    until(lambda: many.all_are("in_progress", ids), SOON_S)
    frozen.signal(signal.SIGSTOP)
    other = many.worker("other")
    until(lambda: many.all_are("completed", ids), TAKE_OVER_S, other.log)
    before = [many.api.task(task_id) for task_id in ids]

    frozen.signal(signal.SIGCONT)
    frozen.said("lease lost")
    (late,) = many.create(1, "one more boat")
    until(lambda: many.all_are("completed", [late]), SOON_S)
    assert [many.api.task(task_id) for task_id in ids] == before
    assert (frozen.stop(), other.stop(), many.door.stop()) == (0, 0, 0)
    assert wrongs(many.folder, **many.env) == []


def test_a_lone_worker_that_stood_still_goes_on_with_what_it_had(
    zygote: Zygote, tmp_path: Path
) -> None:
    """A laptop that slept: nobody took over, so nothing is dropped."""
    _, key = open_account(tmp_path)
    server = zygote.serve(tmp_path, REELGATE_LEASE_S="1")
    assert server.url is not None
    api = Api(server.url, key)
    request = Request("a boat [sandbox:slow=2]")
    request.send(api)
    until(lambda: api.task(request.task_id or "")["status"] == "in_progress", SOON_S)
    server.signal(signal.SIGSTOP)
    time.sleep(2.5)
    server.signal(signal.SIGCONT)
    assert api.ended(request.task_id or "")["status"] == "completed"
    assert "lease lost" not in server.log()
    assert server.stop() == 0
    assert wrongs(tmp_path) == []
