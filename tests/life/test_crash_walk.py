"""The server is killed at every labelled point, started again, and nothing is lost or done twice.

Each walk is a life of its own: a copy of a furnished installation, a server that will kill itself
at one label, a client that sends what it has no answer for again, and a look at everything after.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reelgate.domain.crashpoints import CRASH_POINTS
from reelgate.domain.task import State
from tests.life.conftest import Furnished
from tests.support.aftermath import (
    all_tasks,
    end_the_unclear_soon,
    expire_all_results,
    wrongs,
)
from tests.support.load import Api, NoAnswerError, Request, send_all
from tests.support.processes import Zygote, until

CRASH_TIMEOUT_S = 20.0


def nothing(_: object) -> None:
    """Nothing more is needed."""


def cancel_the_slow_one(api: Api) -> None:
    """Once its upstream has it."""
    slow = Request("a boat [sandbox:slow=60]")
    slow.send(api)
    assert slow.task_id is not None
    until(lambda: api.task(slow.task_id or "")["status"] == "in_progress", CRASH_TIMEOUT_S)
    api.call("POST", f"/v1/videos/{slow.task_id}/cancel")


def delete_the_oldest(api: Api) -> None:
    listed = api.call("GET", "/v1/videos?order=asc&limit=1").body["data"]
    api.call("DELETE", f"/v1/videos/{listed[0]['id']}")


@dataclass(frozen=True)
class Way:
    """What brings a server to a label beside, or instead of, the usual load."""

    load: Callable[[Furnished], list[Request]] = Furnished.usual_load
    before: Callable[[Path], None] = nothing
    meanwhile: Callable[[Api], None] = nothing


USUAL = Way()
WAYS: dict[str, Way] = {
    "send.after_measure_commit": Way(load=lambda furnished: [furnished.long_source()]),
    "send.after_queued_commit": Way(load=lambda _: [Request("a boat [sandbox:busy=1]")]),
    "send.after_stranded_commit": Way(
        load=lambda _: [Request("a boat [sandbox:lost-reply]", error="outcome_unknown")]
    ),
    "sweep.before_purge": Way(before=expire_all_results),
    "sweep.after_purge": Way(before=expire_all_results),
    "cancel.after_upstream_stopped": Way(meanwhile=cancel_the_slow_one),
    "delete.after_hide_commit": Way(meanwhile=delete_the_oldest),
    "delete.after_bytes": Way(meanwhile=delete_the_oldest),
}


@dataclass(frozen=True)
class Walked:
    """One walk: how the first server ended, and what was wrong afterwards."""

    code: int
    log: str
    wrong: list[str]


def walk(zygote: Zygote, furnished: Furnished, folder: Path, label: str) -> Walked:
    way = WAYS.get(label, USUAL)
    furnished.copy_to(folder)
    way.before(folder)
    known = len(all_tasks(folder))
    load = way.load(furnished)

    server = zygote.serve_until_it_ends(folder, REELGATE_CRASH_AT=label)
    if server.url is not None:
        api = Api(server.url, furnished.key)
        with suppress(NoAnswerError):
            send_all(api, load)
            way.meanwhile(api)
    code = server.wait(CRASH_TIMEOUT_S)

    # A task that was being sent is stranded now, and ends at its deadline: let that be soon.
    unclear = {
        task.id for task in all_tasks(folder) if task.state in {State.SENDING, State.STRANDED}
    }
    end_the_unclear_soon(folder)
    server = zygote.serve(folder)
    assert server.url is not None
    api = Api(server.url, furnished.key)
    assert send_all(api, load) == len(load)
    wrong = []
    for request in load:
        task = api.ended(request.task_id or "")
        error = (task["error"] or {}).get("code")
        expected = "outcome_unknown" if request.task_id in unclear else request.error
        if error != expected:
            wrong.append(f"{request.prompt!r} ended with {error}, not {expected}")
    for listed in api.call("GET", "/v1/videos?limit=100").body["data"]:
        api.ended(listed["id"])
    if server.stop() != 0:
        wrong.append("the second server did not stop in order")
    if "Traceback" in server.log():
        wrong.append("the log has a traceback")
    extra = 1 if way.meanwhile is cancel_the_slow_one else 0
    made = len(all_tasks(folder)) - known
    deleted = 1 if way.meanwhile is delete_the_oldest else 0
    if made != len(load) + extra - deleted:
        wrong.append(f"{made} tasks were made of {len(load)} requests")
    return Walked(code, server.log(), wrong + wrongs(folder))


@pytest.mark.parametrize("label", CRASH_POINTS)
def test_a_crash_loses_nothing_and_does_nothing_twice(
    zygote: Zygote, furnished: Furnished, tmp_path: Path, label: str
) -> None:
    walked = walk(zygote, furnished, tmp_path / "walk", label)
    assert walked.code == -signal.SIGKILL, f"{label} was not reached:\n{walked.log[-3000:]}"
    assert not walked.wrong, "\n".join([*walked.wrong, walked.log[-3000:]])
