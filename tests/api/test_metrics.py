"""`/metrics` is Prometheus' text format and says what happened."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, cast

import httpx

from reelgate import __version__
from reelgate.api.asgi import Api, HttpApi
from reelgate.api.fields import CreateReader
from reelgate.api.meter import BOUNDS_US, Meter
from reelgate.api.metrics import METRICS, lines
from reelgate.api.routes import ROUTES
from reelgate.domain.errors import StoreUnavailable
from reelgate.domain.task import LIVE, State
from reelgate.flows.authenticate import Authenticator
from reelgate.flows.pictures import PictureMaker
from reelgate.providers.base import Cause
from reelgate.store.database import Database
from tests.support.live import Live
from tests.support.world import World

# docs: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9][0-9.e+-]*)\n")
HELP = re.compile(rf"# HELP ({NAME}) (.+)\n")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)\n")

Labels = tuple[tuple[str, str], ...]


@dataclass
class Told:
    """A page of metrics, read strictly."""

    kinds: dict[str, str]
    samples: dict[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def of(self, name: str) -> Mapping[Labels, float]:
        return {labels: value for (own, labels), value in self.samples.items() if own == name}


def read(text: str) -> Told:
    told = Told({}, {})
    current = ""
    assert text.endswith("\n")
    for line in text.splitlines(keepends=True):
        if found := HELP.fullmatch(line):
            current = found[1]
            assert current not in told.kinds
        elif found := TYPE.fullmatch(line):
            assert found[1] == current
            told.kinds[current] = found[2]
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            name, value = found[1], float(found[found.lastindex or 0])
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert current == (base if told.kinds[current] == "histogram" else name)
            labels = tuple(sorted((k, v) for k, v in re.findall(LABEL, found[2] or "")))
            assert (name, labels) not in told.samples
            told.samples[name, labels] = value
    return told


# ---- counting -------------------------------------------------------------------------------


def test_answers_are_counted_by_route_and_class() -> None:
    meter, (first, second, *_) = Meter(), ROUTES
    for route in ROUTES:
        meter.add(route)
    for status, us in ((200, 90), (201, 250), (404, 251), (503, 70_000_000), (0, 10)):
        meter.count(first, status, us)
    meter.count(None, 404, 20)
    cells = {(cell.method, cell.route): cell for cell in meter.cells()}
    assert set(cells) == {(first.method, first.path), ("any", "none")}
    cell = cells[first.method, first.path]
    assert cell.by_class == [1, 0, 2, 0, 1, 1]
    assert cell.sum_us == 90 + 250 + 251 + 70_000_000 + 10
    # A bound belongs to its bucket; the last is for what is over all of them.
    assert cell.buckets == [3, 1, *([0] * (len(BOUNDS_US) - 2)), 1]
    assert cells["any", "none"].by_class == [0, 0, 0, 0, 1, 0]
    assert not any(cell.route == second.path for cell in meter.cells() if second.path != first.path)


def test_labels_are_escaped() -> None:
    odd = 'a"b\\c\nd'
    _, line = lines("m", "gauge", "About.", [("", {"name": odd}, 1)])
    assert line == 'm{name="a\\"b\\\\c\\nd"} 1\n'
    assert read(f"# HELP m About.\n# TYPE m gauge\n{line}").kinds == {"m": "gauge"}


# ---- what is told ---------------------------------------------------------------------------


def api_of(world: World, db: Database | None = None) -> httpx.AsyncClient:
    """The API over a world, in this process."""
    gateway = replace(world.gateway, db=db or world.gateway.db)
    api = Api(
        gateway,
        Authenticator(gateway),
        CreateReader(gateway.models, allow_http=True),
        PictureMaker(gateway),
        in_hand=lambda: len(world.drives),
    )
    app = HttpApi(api, ROUTES, lambda *_: None)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def told(client: httpx.AsyncClient) -> Told:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.text)


async def test_tasks_are_counted_while_they_live(world: World) -> None:
    async with api_of(world) as client:
        before = (await told(client)).of("reelgate_tasks")
    assert {dict(labels)["state"] for labels in before} == {state.value for state in LIVE}
    queued, running = await world.submit(), await world.submit()
    await world.live(running, until=State.RUNNING)
    async with api_of(world) as client:
        now = await told(client)
    assert grown(now, before) == {"queued": 1, "running": 1}
    assert now.value("reelgate_worker_tasks_in_hand") == 1
    upstream = world.upstream.name
    assert now.value("reelgate_upstream_jobs_in_flight", upstream=upstream) == 1
    for task in (queued, running):
        await world.live(task)
    async with api_of(world) as client:
        after = await told(client)
    assert grown(after, before) == {}
    assert after.value("reelgate_upstream_jobs_in_flight", upstream=upstream) == 0


def grown(now: Told, before: Mapping[Labels, float]) -> dict[str, float]:
    by = {
        dict(key)["state"]: value - before[key] for key, value in now.of("reelgate_tasks").items()
    }
    return {state: more for state, more in by.items() if more}


async def test_the_database_is_not_asked_each_time(world: World) -> None:
    async with api_of(world) as client:
        first = (await told(client)).of("reelgate_tasks")
        await world.submit()
        assert (await told(client)).of("reelgate_tasks") == first


async def test_an_upstream_in_trouble_is_told(world: World) -> None:
    name = world.upstream.name
    async with api_of(world) as client:
        assert (await told(client)).value("reelgate_upstream_breaker_open", upstream=name) == 0
        world.upstream.breaker.bad(Cause.BAD_CREDENTIALS)
        world.upstream.disabled = True
        now = await told(client)
    assert now.value("reelgate_upstream_breaker_open", upstream=name) == 1
    assert now.value("reelgate_upstream_disabled", upstream=name) == 1


class Gone:
    """A database that does not answer."""

    shared = False
    waiting = 7

    async def read(self, fn: object) -> NoReturn:
        raise StoreUnavailable("gone")


async def test_what_can_not_be_looked_up_is_left_out(world: World) -> None:
    async with api_of(world, cast(Database, Gone())) as client:
        now = await told(client)
    assert "reelgate_tasks" in now.kinds
    assert now.of("reelgate_tasks") == {}
    assert now.value("reelgate_database_waiting") == 7
    assert now.value("reelgate_build_info", version=__version__, python=platform.python_version())


def test_a_running_gateway_tells_every_metric(either: Live) -> None:
    client, stranger = either.account().http, either.client()
    for path, status in (("/v1/balance", 200), ("/v1/videos/task_1", 404), ("/nowhere", 404)):
        assert client.get(path).status_code == status
    assert stranger.get("/v1/balance").status_code == 401
    now = read(stranger.get("/metrics").text)
    assert set(now.kinds) == {metric.name for metric in METRICS}
    for metric in METRICS:
        samples = [key for key in now.samples if key[0].startswith(metric.name)]
        assert samples, metric.name
        names = {name for _, labels in samples for name, _ in labels} - {"le"}
        assert names == set(metric.labels), metric.name
    for route, kind in (
        ("/v1/balance", "2xx"),
        ("/v1/balance", "4xx"),
        ("/v1/videos/{task_id}", "4xx"),
    ):
        labels = {"method": "GET", "route": route, "status": kind}
        assert now.value("reelgate_http_requests_total", **labels)
    assert now.value("reelgate_http_requests_total", method="any", route="none", status="4xx")
    assert (now.value("reelgate_media_free_bytes") or 0) > 2**20
    assert (now.value("process_resident_memory_bytes") or 0) > 2**20


def test_a_histogram_adds_up(either: Live) -> None:
    client = either.client()
    client.get("/healthz")
    now = read(client.get("/metrics").text)
    name = "reelgate_http_request_duration_seconds"
    route = {"method": "GET", "route": "/healthz"}
    bounds = [*(us / 1_000_000 for us in BOUNDS_US), math.inf]
    buckets = {
        float(dict(labels)["le"]): value
        for labels, value in now.of(f"{name}_bucket").items()
        if {**dict(labels), "le": ""} == {**route, "le": ""}
    }
    assert list(buckets) == bounds
    assert list(buckets.values()) == sorted(buckets.values())
    count = now.value(f"{name}_count", **route)
    assert buckets[math.inf] == count
    answers = now.of("reelgate_http_requests_total").items()
    assert count == sum(n for labels, n in answers if dict(labels)["route"] == "/healthz")
    assert 0 < (now.value(f"{name}_sum", **route) or 0) < 60 * (count or 0)
