"""An upstream that speaks xAI's API with as little work as possible, in a process of its own.

Jobs stay pending until they are told to end. `POST /end` with a number of seconds lets all of them
end evenly over that time; `GET /told` says what happened so far. Results are one small film.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import uvloop

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_PENDING = b'{"status":"pending"}'
_FILM_PATH = "/film.mp4"
_JOB_PATH = "/v1/videos/"


class Told(msgspec.Struct, frozen=True):
    """What the upstream has seen. `due_ms` is when each job ended, Unix time in milliseconds.

    `polled` counts the jobs that were polled since the last `POST /mark`, `polls` their polls.
    """

    jobs: int
    polled: int
    polls: int
    due_ms: dict[str, int]


@dataclass(slots=True)
class _Upstream:
    """The state that all connections share."""

    film: bytes
    jobs: int = 0
    polls: int = 0
    polled: set[str] = field(default_factory=set)
    due_ms: dict[str, int] = field(default_factory=dict)
    done: bytes = b""

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        if method == "POST":
            return self._post(path, body)
        if path == _FILM_PATH:
            return _reply(self.film, b"video/mp4")
        if path == "/told":
            told = Told(self.jobs, len(self.polled), self.polls, self.due_ms)
            return _reply(msgspec.json.encode(told))
        return self._poll(path.removeprefix(_JOB_PATH))

    def _poll(self, job: str) -> bytes:
        self.polls += 1
        self.polled.add(job)
        due_ms = self.due_ms.get(job)
        ended = due_ms is not None and due_ms <= time.time_ns() // 1_000_000
        return _reply(self.done if ended else _PENDING)

    def _post(self, path: str, body: bytes) -> bytes:
        if path == "/end":
            now_ms, over_ms = time.time_ns() // 1_000_000, int(body) * 1000
            for number in range(self.jobs):
                self.due_ms[_job(number)] = now_ms + over_ms * (number + 1) // self.jobs
        elif path == "/mark":
            self.polled.clear()
            self.polls = 0
        else:
            self.jobs += 1
            return _reply(b'{"request_id":"%b"}' % _job(self.jobs - 1).encode())
        return _reply(b"{}")


def _job(number: int) -> str:
    # Numbers that follow each other would end in the order of their submits.
    return f"job-{number * 7_919 % 1_000_003:07}"


def _reply(body: bytes, mime: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (mime, len(body)) + body


class _Connection(asyncio.Protocol):
    """HTTP/1.1 as our client speaks it: one request at a time, with a content-length."""

    def __init__(self, upstream: _Upstream) -> None:
        self._upstream = upstream
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return
        head = self._buffer[:head_end]
        at = head.lower().find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].partition(b"\r")[0]) if at >= 0 else 0
        body_at = head_end + len(_HEAD_END)
        if len(self._buffer) < body_at + length:
            return
        method, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
        body = self._buffer[body_at : body_at + length]
        self._buffer = self._buffer[body_at + length :]
        self._transport.write(self._upstream.answer(method, path, body))


async def _serve(upstream: _Upstream) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(_Connection, upstream), "127.0.0.1", 0, backlog=8192)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    video = {"url": url + _FILM_PATH, "duration": 1, "respect_moderation": True}
    usage = {"cost_in_usd_ticks": 4_200_000_000}
    upstream.done = msgspec.json.encode({"status": "done", "video": video, "usage": usage})
    print(f"ready: {url}", file=sys.stderr, flush=True)
    await server.serve_forever()


def main() -> None:
    """`python -m bench.upstream FILM`, until it is stopped."""
    upstream = _Upstream(Path(sys.argv[1]).read_bytes())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(upstream))


if __name__ == "__main__":
    main()
