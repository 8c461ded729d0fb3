"""SIGTERM: what is under way is finished and recorded, within the limit; nothing new begins."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reelgate.domain.task import State
from reelgate.flows.world import check_world
from tests.support.aftermath import all_tasks, end_the_unclear_soon, open_account, over
from tests.support.load import Answer, Api, NoAnswerError, Request
from tests.support.processes import Server, Zygote, until


class SlowUpstream:
    """Takes every job, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()
        self.jobs = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say({"id": "video_1", "object": "video", "status": "in_progress"})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upstream.jobs += 1
                upstream.asked.set()
                upstream.answer.wait(60)
                self._say({"id": "video_1", "object": "video", "status": "queued"})

            def _say(self, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked may be gone
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                """Keep stderr for the tests."""

        return Handler


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[SlowUpstream]:
    """The one upstream of a server in `tmp_path`."""
    slow = SlowUpstream()
    (tmp_path / "reelgate.toml").write_text(
        f"""
        [[upstream]]
        name = "slow"
        kind = "openai"
        base_url = "{slow.url}"
        api_key_env = "SLOW_KEY"
        allow_private_network = true
        submits_per_second = 100
        models = {{ "grok-imagine" = "sora-2" }}
        """
    )
    yield slow
    slow.close()


def serve(zygote: Zygote, folder: Path, **env: str) -> tuple[Server, Api]:
    _, key = open_account(folder, SLOW_KEY="sk-upstream-key")
    server = zygote.serve(folder, SLOW_KEY="sk-upstream-key", **env)
    assert server.url is not None
    return server, Api(server.url, key)


def test_a_submit_under_way_is_recorded_before_the_process_ends(
    zygote: Zygote, tmp_path: Path, upstream: SlowUpstream
) -> None:
    server, api = serve(zygote, tmp_path)
    Request("a boat", fields={"size": "720p"}).send(api)
    assert upstream.asked.wait(10)
    server.begin_to_stop()
    server.said("draining")
    assert server.poll() is None
    upstream.answer.set()
    assert server.wait() == 0
    (task,) = all_tasks(tmp_path, SLOW_KEY="x")
    assert (task.state, task.upstream_ref) == (State.RUNNING, "video_1")
    assert task.lease_owner is None
    assert over(tmp_path, check_world, SLOW_KEY="x") == []


def test_an_upstream_that_never_answers_does_not_hold_up_the_end(
    zygote: Zygote, tmp_path: Path, upstream: SlowUpstream
) -> None:
    server, api = serve(zygote, tmp_path, REELGATE_SHUTDOWN_GRACE_S="1")
    Request("a boat", fields={"size": "720p"}).send(api)
    assert upstream.asked.wait(10)
    began = time.monotonic()
    assert server.stop() == 0
    assert 0.9 < time.monotonic() - began < 15  # the upstream would take a minute
    (task,) = all_tasks(tmp_path, SLOW_KEY="x")
    assert task.state is State.SENDING
    end_the_unclear_soon(tmp_path, SLOW_KEY="x")
    server = zygote.serve(tmp_path, SLOW_KEY="sk-upstream-key")
    assert server.url is not None
    ended = Api(server.url, api.key).ended(task.id)
    assert ended["error"]["code"] == "outcome_unknown"
    assert server.stop() == 0
    assert upstream.jobs == 1
    assert over(tmp_path, check_world, SLOW_KEY="x") == []


def test_open_requests_are_answered_and_new_ones_turned_away(
    zygote: Zygote, tmp_path: Path, upstream: SlowUpstream
) -> None:
    server, api = serve(zygote, tmp_path)
    request = Request("a boat", fields={"size": "720p"})
    request.send(api)
    assert upstream.asked.wait(10)
    answers: list[Answer] = []

    def wait_for_the_end() -> None:
        answers.append(api.call("GET", f"/v1/videos/{request.task_id}", Prefer="wait=50"))

    waiting = threading.Thread(target=wait_for_the_end)
    waiting.start()
    until(lambda: _open_connections(server) >= 1, 10)
    server.begin_to_stop()
    waiting.join(10)
    assert [answer.status for answer in answers] == [200]
    assert answers[0].body["status"] in {"queued", "in_progress"}
    server.said("draining")
    until(lambda: _turned_away(api), 5)
    assert server.poll() is None
    upstream.answer.set()
    assert server.wait() == 0


def _turned_away(api: Api) -> bool:
    try:
        api.call("GET", "/healthz")
    except NoAnswerError:
        return True
    return False


def _open_connections(server: Server) -> int:
    """Connections of clients that the server has."""
    assert server.url is not None
    port = f"{int(server.url.rpartition(':')[2]):04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    established = [line.split() for line in lines if line.split()[3] == "01"]
    return sum(fields[1].endswith(f":{port}") for fields in established)
