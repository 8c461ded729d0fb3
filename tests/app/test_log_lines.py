"""What a running server says: a line per request and per move, and nothing that is a secret."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from reelgate.flows.gateway import Gateway
from reelgate.store import tasks
from tests.support.aftermath import open_account, over
from tests.support.load import Api, Request, send_all
from tests.support.processes import Zygote

SECRET_WORD = "xylophonist"
LOAD = (
    Request(f"a {SECRET_WORD}"),
    Request(f"a {SECRET_WORD} [sandbox:fail]"),
    Request(f"a {SECRET_WORD} [sandbox:moderated]"),
    Request(f"a {SECRET_WORD} [sandbox:busy=1]"),
    Request(f"a {SECRET_WORD} [sandbox:poll-trouble=1]"),
    Request(f"a {SECRET_WORD} [sandbox:unreachable=1]"),
    Request(f"a {SECRET_WORD} [sandbox:refuse]"),
    Request(f"a {SECRET_WORD} [sandbox:no-such-tag]"),
)


@dataclass
class Life:
    """What was asked and done, and what was logged of it."""

    log: str
    secrets: list[str]
    request_ids: list[str]
    moves: Counter[tuple[str, str, str]]


@pytest.fixture(scope="module", params=["text", "json"])
def life(
    request: pytest.FixtureRequest, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Life:
    """A server that was asked for all sorts of things, in both formats of its log."""
    folder = tmp_path_factory.mktemp("log")
    _, key = open_account(folder)
    server = zygote.serve(folder, REELGATE_LOG_FORMAT=request.param)
    assert server.url is not None
    api = Api(server.url, key)
    ids: list[str] = []

    def ask(method: str, path: str, key: str = key, body: bytes | None = None) -> None:
        answer = Api(api.url, key).call(method, path, body)
        ids.append(answer.headers["x-request-id"])

    load = [Request(wanted.prompt) for wanted in LOAD]
    send_all(api, load)
    links = []
    for sent in load:
        ended = api.ended(sent.task_id or "")
        if ended["status"] == "completed":
            links.append(ended["metadata"]["url"])
    for link in links:
        parts = urlsplit(link)
        ask("GET", f"{parts.path}?{parts.query}", key="")
        ask("GET", f"{parts.path}?{parts.query}x", key="")
    ask("GET", "/v1/videos", key=f"{key}x")
    ask("GET", f"/v1/videos/{load[0].task_id}")
    ask("POST", "/v1/videos", body=f'{{"prompt": "{SECRET_WORD}"'.encode())
    ask("POST", "/v1/nowhere")
    ask("DELETE", f"/v1/videos/{load[0].task_id}")
    slow = Request(f"a {SECRET_WORD} [sandbox:slow=30]")
    slow.send(api)
    ask("POST", f"/v1/videos/{slow.task_id}/cancel")
    load.append(slow)
    assert server.stop() == 0
    signatures = [value for link in links for (value,) in parse_qs(urlsplit(link).query).values()]
    long_ones = [text for text in signatures if len(text) > 15]
    assert long_ones
    return Life(
        server.log(),
        [key, key[-20:], SECRET_WORD, *long_ones],
        ids,
        over(folder, partial(moves_of, ids=[sent.task_id or "" for sent in load])),
    )


async def moves_of(gateway: Gateway, ids: list[str]) -> Counter[tuple[str, str, str]]:
    """(task, from, to) of every move that was recorded."""
    moves: Counter[tuple[str, str, str]] = Counter()
    for task_id in ids:
        for _, before, after, _ in await gateway.db.read(partial(tasks.history, task_id=task_id)):
            moves[task_id, before, after] += 1
    return moves


def lines_with(life: Life, text: str) -> list[str]:
    return [line for line in life.log.splitlines() if text in line]


def test_there_is_no_secret_in_it(life: Life) -> None:
    assert [secret for secret in life.secrets if secret in life.log] == []


def test_there_is_no_traceback_in_it(life: Life) -> None:
    assert "Traceback" not in life.log
    assert "internal error" not in life.log


def test_every_request_is_one_line(life: Life) -> None:
    counts = {request_id: len(lines_with(life, request_id)) for request_id in life.request_ids}
    assert set(counts.values()) == {1}, counts


def test_every_move_is_one_line(life: Life) -> None:
    said: Counter[tuple[str, str, str]] = Counter()
    for line in [*lines_with(life, "task moved"), *lines_with(life, "task ended")]:
        fields = (
            json.loads(line) if line.startswith("{") else dict(re.findall(r"(\w+)=(\S*)", line))
        )
        said[fields["task_id"], fields["from_state"], fields["to_state"]] += 1
    assert life.moves.total() > 20
    assert said == life.moves


def test_every_line_is_whole(life: Life) -> None:
    for line in life.log.splitlines():
        if line.startswith("reelgate is ready: "):
            continue
        if line.startswith("{"):
            assert {"time", "level", "event"} <= json.loads(line).keys()
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR) \S", line), line
