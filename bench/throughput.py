"""Creates and polls per second, beside their floors: one load after the other, round and round.

All servers run the whole time; one at a time is under load. Each figure is the median of its
rounds, and each ratio the median of the ratios within a round, so that a machine that is now
faster and now slower is so to both sides of a comparison.
"""

import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

from bench import fixture, servers
from bench.fill import Past
from bench.load import Plan, Report, Shot
from bench.report import Bar, Row, Section
from bench.servers import Server
from tests.support.postgres import fresh_database, running_postgres

CONNECTIONS = 64
_SPREAD = 10_000
_PAST = 1_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each load runs, and how often."""

    seconds: float
    rounds: int


@dataclass(slots=True)
class Load:
    """Requests to one server, and what came of them round by round."""

    name: str
    server: Server
    shots: list[Shot]
    reports: list[Report] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """One round. Raises RuntimeError for a single wrong answer."""
        before = self.server.cpu_s()
        plan = Plan(
            port=self.server.port, shots=self.shots, seconds=seconds, connections=CONNECTIONS
        )
        report = fire(plan)
        if report.wrong:
            raise RuntimeError(f"{self.name}: {report.wrong} wrong answers: {report.first_wrong}")
        self.reports.append(report)
        self.cpu_us.append((self.server.cpu_s() - before) / report.all_answers * 1e6)

    @property
    def per_second(self) -> float:
        return median(report.per_second for report in self.reports)

    def of(self, other: "Load") -> float:
        """This load's rate as a share of another's."""
        pairs = zip(self.reports, other.reports, strict=True)
        return median(mine.per_second / its.per_second for mine, its in pairs)

    def row(self, **more: float) -> Row:
        cells = {
            "per second": round(self.per_second),
            "p50 ms": median(report.p50_us for report in self.reports) / 1000,
            "p99 ms": median(report.p99_us for report in self.reports) / 1000,
            "CPU µs": round(median(self.cpu_us)),
        }
        return Row(self.name, cells | more)


def fire(plan: Plan) -> Report:
    """Run the load generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        cwd=servers.ROOT,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Report)


# ---- what is under load -------------------------------------------------------------------


@dataclass(slots=True)
class Gateway:
    """A gateway, and the loads for a customer of it that has ten thousand queued tasks.

    `ended` are polls of tasks that ended long ago, where there are any.
    """

    name: str
    server: Server
    idle_mib: int
    creates: Load
    one: Load
    spread: Load
    ended: Load | None

    def memory(self) -> Row:
        cells = {"idle MiB": self.idle_mib, "peak MiB": self.server.peak_mib()}
        return Row(f"memory, {self.name}", cells)


@contextmanager
def _gateway(
    name: str, folder: Path, *, past: int = 0, database: str | None = None
) -> Iterator[Gateway]:
    """Serve, and check the books when all loads are over. Raises RuntimeError if they are wrong."""
    settings = {} if database is None else {"DATABASE_URL": database}
    data = folder / name.replace(" ", "-")
    env = servers.environment(data, ROLE="api", **settings)
    customer = fixture.new_customer(env, tasks=_SPREAD)
    polls = fixture.polls(customer.key, customer.task_ids)
    long_ago: list[str] = []
    if past:
        long_ago = Past(data / "reelgate.sqlite3", customer.task_ids[0]).write(past)[-_SPREAD:]
    with servers.reelgate(data.name, folder, env) as server:
        creates = Load(f"creates, {name}", server, fixture.creates(customer.key))
        ended = fixture.polls(customer.key, long_ago)
        yield Gateway(
            name=name,
            server=server,
            idle_mib=server.rss_mib(),
            creates=creates,
            one=Load(f"polls of one task, {name}", server, polls[:1]),
            spread=Load(f"polls of 10 000 tasks, {name}", server, polls),
            ended=Load(f"polls of 10 000 ended tasks, {name}", server, ended) if ended else None,
        )
    answered = past + _SPREAD + sum(report.all_answers for report in creates.reports)
    if (kept := fixture.task_count(env)) != answered:
        raise RuntimeError(f"{name}: {answered} tasks were answered for, {kept} are there")
    if broken := fixture.broken_invariants(env):
        raise RuntimeError(f"{name}: after the load {broken}")


@dataclass(slots=True)
class Floors:
    """Reelgate's own server with two routes that do the least there is to do."""

    constant: Load
    durable: Load


@contextmanager
def _floors(name: str, folder: Path, *, database: str | None = None) -> Iterator[Floors]:
    settings = {} if database is None else {"DATABASE_URL": database}
    data = folder / name.replace(" ", "-")
    env = servers.environment(data, ROLE="api", **settings)
    with servers.running(data.name, folder, ["bench.floor", "serve"], env) as server:
        get, post = fixture.floor_shots()
        yield Floors(
            constant=Load(f"{name}: constant answer", server, [get]),
            durable=Load(f"{name}: bare transaction", server, [post]),
        )


@contextmanager
def _uvicorn(folder: Path) -> Iterator[Load]:
    """The HTTP server alone: for comparison, nobody could live in it."""
    env = servers.environment(folder)
    with servers.running("uvicorn", folder, ["bench.floor", "uvicorn"], env) as server:
        yield Load("uvicorn alone: constant answer", server, [fixture.floor_shots()[0]])


# ---- measuring ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Stage:
    """Everything that runs at the same time."""

    uvicorn: Load | None = None
    floors: Floors | None = None
    empty: Gateway | None = None
    aged: Gateway | None = None
    postgres: Gateway | None = None
    postgres_floors: Floors | None = None

    def loads(self, parts: Collection[str]) -> Iterator[Load]:
        """In the order in which they run: what is compared runs side by side."""
        gateways = [gateway for gateway in (self.empty, self.aged) if gateway]
        if "creates" in parts and self.floors:
            yield self.floors.durable
        if "creates" in parts or "million" in parts:
            yield from (gateway.creates for gateway in gateways)
        if "polls" in parts and self.floors and self.uvicorn:
            yield from (self.uvicorn, self.floors.constant)
        if "polls" in parts or "million" in parts:
            yield from (gateway.one for gateway in gateways)
            yield from (gateway.spread for gateway in gateways)
        if self.aged and self.aged.ended:
            yield self.aged.ended
        if self.postgres and self.postgres_floors:
            yield self.postgres_floors.durable
            yield from (self.postgres.creates, self.postgres.one, self.postgres.spread)


def measure(parts: Collection[str], folder: Path, pace: Pace) -> list[Section]:
    """Run the loads of `creates`, `polls`, `million` and `postgres`."""
    with ExitStack() as stack:
        enter, stage = stack.enter_context, _Stage()
        if {"creates", "polls", "million"} & set(parts):
            stage.empty = enter(_gateway("empty database", folder))
        if {"creates", "polls"} & set(parts):
            stage.floors = enter(_floors("floor", folder))
            stage.uvicorn = enter(_uvicorn(folder))
        if "million" in parts:
            stage.aged = enter(_gateway("a million ended tasks", folder, past=_PAST))
        if "postgres" in parts:
            admin = enter(running_postgres(durable=True))
            urls = [enter(fresh_database(admin)) for _ in range(2)]
            stage.postgres = enter(_gateway("PostgreSQL", folder, database=urls[0]))
            stage.postgres_floors = enter(_floors("PostgreSQL floor", folder, database=urls[1]))
        loads = list(stage.loads(parts))
        for _ in range(pace.rounds):
            for load in loads:
                load.run(pace.seconds)
        return list(_sections(stage, parts))


def _sections(stage: _Stage, parts: Collection[str]) -> Iterator[Section]:
    if "creates" in parts and stage.empty and stage.floors:
        yield _creates(stage.empty, stage.floors)
    if "polls" in parts and stage.empty and stage.floors and stage.uvicorn:
        yield _polls(stage.empty, stage.floors, stage.uvicorn)
    if stage.aged and stage.empty:
        yield _million(stage.aged, stage.empty)
    if stage.postgres and stage.postgres_floors:
        yield _postgres(stage.postgres, stage.postgres_floors)


def _creates(gateway: Gateway, floors: Floors) -> Section:
    creates, floor = gateway.creates, floors.durable
    rows = [floor.row(), creates.row(**{"of floor": creates.of(floor)}), gateway.memory()]
    bars = [
        Bar("creates per second", creates.per_second, least=2_500),
        Bar("creates, of the floor", creates.of(floor), least=0.45),
    ]
    return Section("Creates, each on disk before it is answered", rows, bars)


def _polls(gateway: Gateway, floors: Floors, uvicorn: Load) -> Section:
    floor, loads = floors.constant, (gateway.one, gateway.spread)
    rows = [load.row(**{"of floor": load.of(floor)}) for load in (uvicorn, floor, *loads)]
    bars = [Bar(f"{load.name}, per second", load.per_second, least=9_000) for load in loads]
    bars += [Bar(f"{load.name}, of the floor", load.of(floor), least=0.5) for load in loads]
    return Section("Polls", rows, bars)


def _million(aged: Gateway, empty: Gateway) -> Section:
    pairs = ((aged.creates, empty.creates), (aged.one, empty.one), (aged.spread, empty.spread))
    rows = [load.row(**{"of empty": load.of(other)}) for load, other in pairs]
    rows += [aged.ended.row()] if aged.ended else []
    rows += [other.row() for _, other in pairs]
    bars = [Bar(f"{load.name}, of empty", load.of(other), least=0.85) for load, other in pairs]
    return Section("With a million ended tasks in the database", [*rows, aged.memory()], bars)


def _postgres(gateway: Gateway, floors: Floors) -> Section:
    creates, floor = gateway.creates, floors.durable
    rows = [floor.row(), creates.row(**{"of floor": creates.of(floor)})]
    rows += [gateway.one.row(), gateway.spread.row(), gateway.memory()]
    return Section("The same on PostgreSQL, its server on the same cores", rows)
