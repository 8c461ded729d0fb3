"""The load generator: a process of its own that keeps some connections busy and counts.

It does as little as it can, because it shares the machine with the server that it measures:
requests are encoded beforehand, answers are looked at for their status, length and one marker.
Reads a `Plan` as JSON from stdin and writes a `Report` as JSON to stdout.
"""

import asyncio
import sys
import time
from array import array
from itertools import cycle
from typing import cast

import msgspec
import uvloop

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Shot(msgspec.Struct, frozen=True):
    """One request as it goes over the wire, and what its answer's body must contain."""

    request: bytes
    marker: bytes


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, in turn, until the time or the count is over."""

    port: int
    shots: list[Shot]
    seconds: float
    count_max: int = 1_000_000
    connections: int = 64
    warm_up_s: float = 0.3


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came back after the warm-up; `all_answers` with it. Latencies in microseconds."""

    answers: int
    all_answers: int
    seconds: float
    wrong: int
    first_wrong: str
    p50_us: int
    p99_us: int
    max_us: int

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


class _Tally:
    """What all connections share: where the plan stands, and what was seen."""

    def __init__(self, plan: Plan) -> None:
        self.shots = cycle(plan.shots)
        self.left = plan.count_max
        self.open = True
        self.latencies = array("d")
        self.seen = self.wrong = 0
        self.first_wrong = ""

    def start_over(self) -> None:
        """Forget the warm-up, but not what went wrong in it."""
        self.latencies = array("d")

    def wrong_answer(self, answer: bytes) -> None:
        self.wrong += 1
        self.first_wrong = self.first_wrong or answer[:2000].decode(errors="replace")


class _Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, sends again."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally
        self._buffer = b""
        self._wanted = 0
        self._sent_at = 0.0
        self._marker = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._wanted and not self._read_head():
            return
        if len(self._buffer) >= self._wanted:
            self._take(self._buffer)
            self._buffer, self._wanted = b"", 0
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._tally.open:
            self._tally.wrong_answer(b"connection lost")
        if not self.ended.done():
            self.ended.set_result(None)

    def _read_head(self) -> bool:
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return False
        at = self._buffer.find(_LENGTH, 0, head_end + 2)
        length = int(self._buffer[at + len(_LENGTH) : self._buffer.find(b"\r", at)])
        self._wanted = head_end + len(_HEAD_END) + length
        return True

    def _take(self, answer: bytes) -> None:
        tally = self._tally
        tally.latencies.append(time.perf_counter() - self._sent_at)
        if answer[9:12] != b"200" or self._marker not in answer:
            tally.wrong_answer(answer)
        tally.seen += 1

    def _send(self) -> None:
        tally = self._tally
        if not tally.open or tally.left <= 0:
            if not self.ended.done():
                self.ended.set_result(None)
            return
        tally.left -= 1
        shot = next(tally.shots)
        self._marker = shot.marker
        self._sent_at = time.perf_counter()
        self._transport.write(shot.request)


async def _run(plan: Plan) -> Report:
    loop, tally = asyncio.get_running_loop(), _Tally(plan)
    connections = [
        (await loop.create_connection(lambda: _Connection(tally), "127.0.0.1", plan.port))[1]
        for _ in range(plan.connections)
    ]
    everyone = asyncio.gather(*(connection.ended for connection in connections))
    await asyncio.sleep(plan.warm_up_s)
    tally.start_over()
    began = time.perf_counter()
    await asyncio.wait([everyone], timeout=plan.seconds)
    seconds, latencies = time.perf_counter() - began, sorted(tally.latencies)
    # Those still under way are let in, so that none is cut off, but they are not counted.
    tally.left = 0
    await asyncio.wait_for(everyone, 30)
    tally.open = False
    count = len(latencies)
    return Report(
        answers=count,
        all_answers=tally.seen,
        seconds=seconds,
        wrong=tally.wrong,
        first_wrong=tally.first_wrong,
        p50_us=round(latencies[count // 2] * 1e6) if count else 0,
        p99_us=round(latencies[count * 99 // 100] * 1e6) if count else 0,
        max_us=round(latencies[-1] * 1e6) if count else 0,
    )


def main() -> None:
    """Read a plan, carry it out, write the report."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_run(plan))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
