"""Processes beside each other on one SQLite file: an API that has no worker of its own."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.aftermath import open_account, wrongs
from tests.support.load import SMALL, Api, Request
from tests.support.processes import Server, Zygote

WAIT_S = 15


def api_of(server: Server, key: str) -> Api:
    assert server.url is not None
    return Api(server.url, key)


def test_an_api_hears_of_what_the_worker_beside_it_does(zygote: Zygote, tmp_path: Path) -> None:
    """Also of what happens before its first look for changes."""
    _, key = open_account(tmp_path)
    worker = zygote.work(tmp_path, log="worker")
    server = zygote.serve(tmp_path, "--role", "api", log="api")
    api = api_of(server, key)
    first = Request("a boat")
    first.send(api)
    api.ended(first.task_id or "")  # the film is made: the next task takes but a moment
    waited_s = []
    for _ in range(2):
        body = {**SMALL, "prompt": "a boat"}
        began = time.monotonic()
        answer = api.call("POST", "/v1/videos", body, Prefer=f"wait={WAIT_S}")
        waited_s.append(time.monotonic() - began)
        assert answer.body["status"] == "completed", answer
    assert max(waited_s) < WAIT_S / 2
    assert (server.stop(), worker.stop()) == (0, 0)
    assert wrongs(tmp_path) == []


def test_a_second_worker_is_refused_until_the_first_is_gone(zygote: Zygote, tmp_path: Path) -> None:
    first = zygote.serve(tmp_path)
    for role in ("all", "worker"):
        second = zygote.start(tmp_path, "--role", role, log=role)
        assert second.wait() == 2
        assert second.log().count("\n") == 1
        assert "another reelgate worker uses the SQLite database" in second.log()
    first.kill()
    third = zygote.serve(tmp_path)
    assert third.stop() == 0
