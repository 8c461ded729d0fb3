"""Completion lag: from the moment a job ends upstream until its task is completed here.

Completed means what it always means: bytes fetched, verified, synced to disk, task settled. The
gateway is a real one with its worker, the upstream a process of its own, all on the same cores.
"""

import http.client
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from bench import fixture, servers
from bench.load import Plan
from bench.report import Bar, Row, Section
from bench.servers import Server
from bench.throughput import fire
from bench.upstream import Told
from reelgate.catalog import MODELS
from reelgate.domain.model import Operation
from tests.support.clips import make_clip

_KEY_VARIABLE = "BENCH_UPSTREAM_KEY"
_SMALL, _LARGE = 1_000, 5_000
_SUBMITTERS = 16
_QUIET_S = 10
_LAG_OVER_POLL_S_MAX = 1.0
_CORES_MAX = 0.5
_TAKEN_UP_S_MAX = 10.0
_PATIENCE_S = 180
_LOOK_S = 0.1
_SETTLE_S = 3

_CONFIG = """
[[upstream]]
name = "bench"
kind = "xai"
base_url = "http://127.0.0.1:{port}"
api_key_env = "{variable}"
max_in_flight = 6000
submits_per_second = 10000
allow_private_network = true
models = {{ "grok-imagine" = "grok-imagine-video" }}
"""


@dataclass(frozen=True, slots=True)
class _Lags:
    """What came of one number of tasks in flight. Seconds, and shares of a core."""

    in_flight: int
    lags_s: list[float]
    polling_cores: float
    polls_per_second: float
    ending_cores: float
    first_poll_s: float
    taken_up_s: float
    peak_mib: int

    def row(self) -> Row:
        ordered = sorted(self.lags_s)
        cells = {
            "p50 s": ordered[len(ordered) // 2],
            "p99 s": self.p99_s,
            "most s": ordered[-1],
            "cores, polling": self.polling_cores,
            "polls/s": self.polls_per_second,
            "cores, ending": self.ending_cores,
            "restart: first poll s": self.first_poll_s,
            "all polled s": self.taken_up_s,
            "peak MiB": self.peak_mib,
        }
        return Row(f"{self.in_flight} in flight", cells)

    @property
    def p99_s(self) -> float:
        return sorted(self.lags_s)[len(self.lags_s) * 99 // 100]

    def bars(self) -> list[Bar]:
        poll_s = MODELS["grok-imagine"].operations[Operation.TEXT_TO_VIDEO].poll_ms / 1000
        most = poll_s + _LAG_OVER_POLL_S_MAX
        bars = [Bar(f"{self.in_flight} in flight, 99 % completed within s", self.p99_s, most=most)]
        if self.in_flight >= _LARGE:
            taken_up = Bar(
                "polling taken up after a kill, s", self.taken_up_s, most=_TAKEN_UP_S_MAX
            )
            bars += [
                Bar("cores for polling", self.polling_cores, most=_CORES_MAX),
                taken_up,
            ]
        return bars


def measure(folder: Path, in_flight: list[int], ending_s: int) -> list[Section]:
    """Every task ends within `ending_s`, evenly; the books are checked after each."""
    film = make_clip(folder / "film.mp4", frames=24, size=(848, 480))
    found = [*_small(folder, film, in_flight, ending_s)]
    found += [_lags(folder, film, count, ending_s) for count in in_flight if count > _SMALL]
    notes = (
        f"jobs end evenly over {ending_s} s; the film has {film.stat().st_size // 1024} KiB",
        "the gateway is killed and started again before the jobs end",
    )
    bars = [bar for lags in found for bar in lags.bars()]
    return [Section("Completion lag", [lags.row() for lags in found], bars, notes)]


def _small(folder: Path, film: Path, in_flight: list[int], ending_s: int) -> list[_Lags]:
    """Those that leave the machine idle run at the same time."""
    counts = [count for count in in_flight if count <= _SMALL]
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda count: _lags(folder, film, count, ending_s), counts))


def _lags(folder: Path, film: Path, count: int, ending_s: int) -> _Lags:
    data = folder / f"lag-{count}"
    data.mkdir()
    plain = servers.environment(data)
    with servers.running("upstream", data, ["bench.upstream", str(film)], plain) as upstream:
        config = data / "reelgate.toml"
        config.write_text(_CONFIG.format(port=upstream.port, variable=_KEY_VARIABLE))
        env = servers.environment(data, CONFIG=config, WORKER_CONCURRENCY=6_000)
        env[_KEY_VARIABLE] = "xai-key"
        customer = fixture.new_customer(env)
        books = _Books(data / "reelgate.sqlite3")
        with servers.reelgate("first", data, env) as server:
            _submit(server, customer.key, count)
            _until(lambda: books.running() == count)
            server.process.kill()
        _ask(upstream, "POST", "/mark")
        with servers.reelgate("again", data, env) as server:
            lags = _observe(books, upstream, server, count, ending_s)
        if broken := fixture.broken_invariants(env):
            raise RuntimeError(f"{count} in flight: afterwards {broken}")
        return lags


def _submit(server: Server, key: str, count: int) -> None:
    report = fire(
        Plan(
            port=server.port,
            shots=fixture.creates(key),
            seconds=_PATIENCE_S,
            count_max=count,
            connections=_SUBMITTERS,
            warm_up_s=0,
        )
    )
    if report.wrong:
        raise RuntimeError(f"{report.wrong} submits failed: {report.first_wrong}")


def _observe(books: "_Books", upstream: Server, server: Server, count: int, ending_s: int) -> _Lags:
    """From the restart until the last task has ended."""
    first_poll_s = server.age_s() if _told(upstream).polls else _when(server, upstream, 1)
    taken_up_s = _when(server, upstream, count)
    time.sleep(_SETTLE_S)
    polling_cores, polls = _quiet(server, upstream)
    _ask(upstream, "POST", "/end", str(ending_s))
    cpu_s, began = server.cpu_s(), time.monotonic()
    _until(lambda: books.ended() == count)
    ending_cores = (server.cpu_s() - cpu_s) / (time.monotonic() - began)
    due_ms = _told(upstream).due_ms
    return _Lags(
        in_flight=count,
        lags_s=[(ended_ms - due_ms[ref]) / 1000 for ref, ended_ms in books.completed()],
        polling_cores=polling_cores,
        polls_per_second=polls,
        ending_cores=ending_cores,
        first_poll_s=first_poll_s,
        taken_up_s=taken_up_s,
        peak_mib=server.peak_mib(),
    )


def _when(server: Server, upstream: Server, jobs: int) -> float:
    """How old the process is when so many jobs have been polled, in seconds."""
    _until(lambda: _told(upstream).polled >= jobs)
    return server.age_s()


def _quiet(server: Server, upstream: Server) -> tuple[float, float]:
    """Cores in use while nothing ends, and polls per second then."""
    _ask(upstream, "POST", "/mark")
    cpu_s, began = server.cpu_s(), time.monotonic()
    time.sleep(_QUIET_S)
    cpu_s, elapsed_s = server.cpu_s() - cpu_s, time.monotonic() - began
    return cpu_s / elapsed_s, _told(upstream).polls / elapsed_s


def _told(upstream: Server) -> Told:
    return msgspec.json.decode(_ask(upstream, "GET", "/told"), type=Told)


def _ask(upstream: Server, method: str, path: str, body: str = "") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=30)
    connection.request(method, path, body or None)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def _until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not come():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {_PATIENCE_S} s")
        time.sleep(_LOOK_S)


class _Books:
    """Looks into the gateway's database from outside, without a lock."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def running(self) -> int:
        return self._count("state = 'running'")

    def ended(self) -> int:
        return self._count("ended_at_ms IS NOT NULL")

    def completed(self) -> list[tuple[str, int]]:
        """The upstream's name and the end of every task. Raises RuntimeError if one failed."""
        if failed := self._count("ended_at_ms IS NOT NULL AND state <> 'completed'"):
            raise RuntimeError(f"{failed} tasks were not completed")
        rows = self._db.execute("SELECT upstream_ref, ended_at_ms FROM task")
        return [(str(ref), int(ended_ms)) for ref, ended_ms in rows]

    def _count(self, where: str) -> int:
        count: int = self._db.execute(f"SELECT COUNT(*) FROM task WHERE {where}").get
        return count
