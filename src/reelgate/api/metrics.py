"""`GET /metrics`: how this gateway is doing, as text for Prometheus. One row per metric.

Rendered by hand: counting with `prometheus_client` costs a poll 1 to 2.7 µs, plain integers 0.25
(docs/decisions/0011-metrics-without-a-library.md).
"""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from starlette.responses import Response

from reelgate import __version__
from reelgate.api.asgi import Answer, Api, Call
from reelgate.api.meter import BOUNDS_US, STATUS_CLASSES
from reelgate.domain.errors import StoreError
from reelgate.domain.task import LIVE, State
from reelgate.flows.upstreams import Upstream
from reelgate.store import reports

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LOOK_AGAIN_S = 5.0
_US_PER_S = 1_000_000
_STATM = Path("/proc/self/statm")

# (suffix of the name, labels, value)
Sample = tuple[str, Mapping[str, str], int | float]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What has been looked up for one answer; None where that failed."""

    api: Api
    tasks: Mapping[str, int] | None
    media_free_bytes: int | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: what it is called, what it says, and how it is read."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...]
    read: Callable[[_Seen], Iterable[Sample]]


async def metrics(call: Call) -> Answer:
    """Everything there is to say, of this process and of the database it shares."""
    seen = _Seen(call.api, await _live_tasks(call.api), await _media_free_bytes(call.api))
    return Response(_render(seen), media_type=MEDIA_TYPE)


async def _live_tasks(api: Api) -> Mapping[str, int] | None:
    """Unfinished tasks by state, looked up at most every few seconds."""
    now, meter = time.monotonic(), api.meter
    if meter.live_tasks is None or now - meter.live_tasks[0] > _LOOK_AGAIN_S:
        try:
            meter.live_tasks = now, await api.gateway.db.read(reports.live_by_state)
        except StoreError:
            return None
    return meter.live_tasks[1]


async def _media_free_bytes(api: Api) -> int | None:
    try:
        return await api.gateway.media.room_bytes()
    except OSError:
        return None


# ---- how each is read ---------------------------------------------------------------------


def _build(_: _Seen) -> Iterator[Sample]:
    yield "", {"version": __version__, "python": platform.python_version()}, 1


def _requests(seen: _Seen) -> Iterator[Sample]:
    for cell in seen.api.meter.cells():
        for status, count in zip(STATUS_CLASSES, cell.by_class, strict=True):
            if count:
                yield "", {"method": cell.method, "route": cell.route, "status": status}, count


def _durations(seen: _Seen) -> Iterator[Sample]:
    for cell in seen.api.meter.cells():
        labels = {"method": cell.method, "route": cell.route}
        total = 0
        for bound_us, count in zip(BOUNDS_US, cell.buckets, strict=False):
            total += count
            yield "_bucket", {**labels, "le": f"{bound_us / _US_PER_S:g}"}, total
        total += cell.buckets[-1]
        yield "_bucket", {**labels, "le": "+Inf"}, total
        yield "_sum", labels, cell.sum_us / _US_PER_S
        yield "_count", labels, total


def _tasks(seen: _Seen) -> Iterator[Sample]:
    if seen.tasks is not None:
        for state in State:
            if state in LIVE:
                yield "", {"state": state.value}, seen.tasks.get(state.value, 0)


def _in_hand(seen: _Seen) -> Iterator[Sample]:
    if seen.api.in_hand is not None:
        yield "", {}, seen.api.in_hand()


def _watched(seen: _Seen) -> Iterator[Sample]:
    yield "", {}, len(seen.api.gateway.watch.watched())


def _each_upstream(value: Callable[[Upstream], int]) -> Callable[[_Seen], Iterator[Sample]]:
    def read(seen: _Seen) -> Iterator[Sample]:
        for upstream in seen.api.gateway.upstreams:
            yield "", {"upstream": upstream.name}, value(upstream)

    return read


def _database_waiting(seen: _Seen) -> Iterator[Sample]:
    yield "", {}, seen.api.gateway.db.waiting


def _media_free(seen: _Seen) -> Iterator[Sample]:
    if seen.media_free_bytes is not None:
        yield "", {}, seen.media_free_bytes


def _cpu(_: _Seen) -> Iterator[Sample]:
    yield "", {}, time.process_time()


def _memory(_: _Seen) -> Iterator[Sample]:
    if _STATM.exists():
        yield "", {}, int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


METRICS: tuple[Metric, ...] = (
    Metric(
        "reelgate_build_info",
        "gauge",
        "Always 1; the labels say what is running.",
        ("version", "python"),
        _build,
    ),
    Metric(
        "reelgate_http_requests_total",
        "counter",
        "Answers of this process, by route and class of status; status none: the client left.",
        ("method", "route", "status"),
        _requests,
    ),
    Metric(
        "reelgate_http_request_duration_seconds",
        "histogram",
        "From the request's head to the answer's last byte; waits that were asked for included.",
        ("method", "route"),
        _durations,
    ),
    Metric(
        "reelgate_tasks",
        "gauge",
        "Unfinished tasks in the database, by state; looked up at most every 5 seconds. Any in "
        "state stranded wait for a person: `reelgate doctor`.",
        ("state",),
        _tasks,
    ),
    Metric(
        "reelgate_worker_tasks_in_hand",
        "gauge",
        "Tasks that the worker of this process drives now.",
        (),
        _in_hand,
    ),
    Metric(
        "reelgate_tasks_watched",
        "gauge",
        "Tasks that a held answer or an event stream of this process waits for.",
        (),
        _watched,
    ),
    Metric(
        "reelgate_upstream_jobs_in_flight",
        "gauge",
        "Jobs of this process that the upstream has.",
        ("upstream",),
        _each_upstream(lambda upstream: upstream.in_flight),
    ),
    Metric(
        "reelgate_upstream_jobs_in_flight_max",
        "gauge",
        "How many it may have (`max_in_flight`).",
        ("upstream",),
        _each_upstream(lambda upstream: upstream.max_in_flight),
    ),
    Metric(
        "reelgate_upstream_breaker_open",
        "gauge",
        "1 while nothing is sent there because it was found broken.",
        ("upstream",),
        _each_upstream(lambda upstream: int(upstream.breaker.wait_ms() > 0)),
    ),
    Metric(
        "reelgate_upstream_disabled",
        "gauge",
        "1 while an operator has switched it off.",
        ("upstream",),
        _each_upstream(lambda upstream: int(upstream.disabled)),
    ),
    Metric(
        "reelgate_database_waiting",
        "gauge",
        "Transactions of this process that wait for their turn.",
        (),
        _database_waiting,
    ),
    Metric(
        "reelgate_media_free_bytes",
        "gauge",
        "Room where the videos are kept.",
        (),
        _media_free,
    ),
    Metric(
        "process_cpu_seconds_total", "counter", "CPU time of this process, all threads.", (), _cpu
    ),
    Metric(
        "process_resident_memory_bytes", "gauge", "Memory of this process (Linux).", (), _memory
    ),
)


# ---- the text -----------------------------------------------------------------------------


def _render(seen: _Seen) -> str:
    return "".join(
        line
        for metric in METRICS
        for line in lines(metric.name, metric.kind, metric.about, metric.read(seen))
    )


def lines(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    """A metric in Prometheus' text format (version 0.0.4)."""
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
    for suffix, labels, value in samples:
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        shown = f"{{{pairs}}}" if pairs else ""
        yield f"{name}{suffix}{shown} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
