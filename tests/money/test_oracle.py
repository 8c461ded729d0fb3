"""Anything in any order, with deaths at any labelled point: the product agrees with the oracle.

After every step the invariants of the design hold, and accounts, holds, tasks and what upstreams
were asked are what `oracle.py` says. Tasks are stepped by hand and the clock moves by hand, so
that a failing example is short and comes back the same.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reelgate.domain import crashpoints
from reelgate.domain.errors import Refusal
from reelgate.domain.order import Draft
from reelgate.domain.task import Task
from reelgate.flows import accounts, advance, cancel, operator, sweep
from reelgate.flows.authenticate import Authenticator
from reelgate.flows.submit import Repeatable, submit
from reelgate.flows.upstreams import Breaker, Upstreams
from reelgate.flows.watch import Watch
from reelgate.flows.world import check_world
from reelgate.providers import base
from reelgate.store import ledger, settlements, tasks
from reelgate.store.accounts import Limits
from reelgate.store.database import Database, Reader
from reelgate.store.ledger import Balance
from reelgate.store.settlements import Settlement
from tests.money import oracle
from tests.money.oracle import ANSWERS, ENDED, Account, Job, Key
from tests.support.clips import make_clip
from tests.support.fake_provider import Fetch
from tests.support.postgres import fresh_database
from tests.support.world import MODEL, Installation, World, new_upstream, new_world, open_database

pytestmark = pytest.mark.timeout(180)  # thousands of steps, and machines are busy

T = TypeVar("T")
DAY_MS = 86_400_000
# Where syncing to disk costs nothing, if there is such a place.
_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
CHANGES = ["make_a_key", "rotate_a_key", "revoke_a_key", "credit", "take_money_back"]
FILMS = [(1, "480p"), (2, "720p"), (5, "480p"), (3, "720p")]
SUBMIT: dict[str, base.SubmitAnswer] = {
    "accepts": base.Accepted("ref", poll_after_ms=1),
    "refuses": base.Refused(base.Verdict.INVALID_INPUT, "no"),
    "is busy": base.NotTaken(base.Cause.OVERLOADED, "busy"),
    "is silent": base.Uncertain(base.Cause.NETWORK, "reset"),
}
POLL: dict[str, base.PollAnswer] = {
    "is done": base.Done("film", cost_ticks=7),
    "is not done": base.Pending(3),
    "is in trouble": base.Trouble(base.Cause.NETWORK, "reset"),
    "failed": base.Failed(base.Verdict.MODERATED, "no", cost_ticks=3),
}

numbers = st.integers(0, 10**6)
films = st.sampled_from(FILMS)
orders = st.tuples(numbers, st.integers(1, 6), st.sampled_from(["480p", "720p"]))


class Died(BaseException):
    """Takes the place of SIGKILL."""


def _die(*_: object) -> None:
    raise Died


def _death(plan: tuple[str, ...], n: int) -> str:
    """A place in a plan where the process dies; more often none."""
    places = [word[1:] for word in plan if word.startswith("!")]
    return [*[""] * (2 * len(places) + 1), *places][n % (3 * len(places) + 1)]


@lru_cache
def _film(seconds: int, tier: str) -> bytes:
    size = (640, 480) if tier == "480p" else (1280, 720)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        make_clip(path, frames=seconds * 2, fps=2, size=size, tone_hz=None)
        return path.read_bytes()


class Money(RuleBasedStateMachine):
    """Drives the product and the oracle side by side."""

    fresh: Callable[[], Any]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.opened = self.fresh()
        self.url, self.folder = self.opened.__enter__()
        self.databases: list[Database] = []
        installation = Installation(self.open(), self.folder / "media", b"")
        self.world: World = self.run(new_world(installation))
        self.ids: dict[Job, str] = {}
        self.accounts: dict[Account, str] = {}
        self.keys: dict[Key, accounts.NewKey] = {}
        self.names = itertools.count()
        for micro in (3_000_000, 400_000):
            made = self.run(accounts.create_account(self.world.gateway, self.name(), micro))
            account = Account(micro)
            self.accounts[account] = made.id
            self.add_key(account)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def open(self) -> Database:
        database = self.run(_later(partial(open_database, self.url)))
        self.databases.append(database)
        return database

    def name(self) -> str:
        return f"{next(self.names)}-{secrets.token_hex(4)}"

    def now(self) -> int:
        return self.world.clock.now_ms()

    def teardown(self) -> None:
        crashpoints._armed.clear()
        for database in self.databases:
            self.run(database.close())
        self.runner.close()
        self.opened.__exit__(None, None, None)

    # ---- customers ------------------------------------------------------------------------

    def add_key(self, account: Account, **limits: int | None) -> None:
        key = Key(account, limits.get("limit"), limits.get("in_flight"))
        kept = Limits(spend_total_max_micro=key.limit, tasks_in_flight_max=key.in_flight)
        made = accounts.create_key(self.world.gateway, self.accounts[account], limits=kept)
        self.keys[key] = self.run(made)

    @rule(
        what=st.sampled_from(CHANGES), n=numbers, micro=st.integers(1, 300_000), yes=st.booleans()
    )
    def manage(self, what: str, n: int, micro: int, yes: bool) -> None:
        """Something that an operator does to an account or a key."""
        getattr(self, what)(n, micro, yes)

    def make_a_key(self, n: int, micro: int, yes: bool) -> None:
        if len(self.keys) < 6:
            limit, fly = (2 * micro, None) if yes else (None, 2)
            self.add_key(self.pick(self.accounts, n), limit=limit, in_flight=fly)

    def rotate_a_key(self, n: int, micro: int, yes: bool) -> None:
        old, overlap = self.pick(self.keys, n), DAY_MS * yes
        rotated = accounts.rotate_key(self.world.gateway, self.keys[old].key.id, overlap_ms=overlap)
        if old.ends is not None and old.ends <= self.now():
            with pytest.raises(Refusal):
                self.run(rotated)
            return
        new = Key(old.account, old.limit, old.in_flight, None, old.family or old)
        self.keys[new] = self.run(rotated)
        self.end_key(old, overlap)

    def revoke_a_key(self, n: int, micro: int, yes: bool) -> None:
        key, after = self.pick(self.keys, n), 1_000_000 * yes
        self.run(accounts.revoke_key(self.world.gateway, self.keys[key].key.id, in_ms=after))
        self.end_key(key, after)
        self.add_key(key.account)

    def end_key(self, key: Key, after: int) -> None:
        ends = self.now() + after
        key.ends = ends if key.ends is None else min(key.ends, ends)

    def credit(self, n: int, micro: int, yes: bool) -> None:
        account, name = self.pick(self.accounts, n), self.name()
        for first in (True, False)[: 1 + yes]:
            added = accounts.credit(
                self.world.gateway, self.accounts[account], micro, reference=name, note=""
            )
            assert self.run(added) is first
        account.posted += micro

    def take_money_back(self, n: int, micro: int, yes: bool) -> None:
        account = self.pick(self.accounts, n)
        taken = accounts.adjust(self.world.gateway, self.accounts[account], -micro, note="back")
        if micro > account.available:
            with pytest.raises(Refusal):
                self.run(taken)
        else:
            self.run(taken)
            account.posted -= micro

    @initialize(orders=st.lists(orders, min_size=2, max_size=4))
    def begin(self, orders: list[tuple[int, int, str]]) -> None:
        for n, seconds, tier in orders:
            self.submit((n, seconds, tier), "", "")

    @rule(
        order=orders,
        name=st.sampled_from(["", "", "a", "b"]),
        dies_at=st.sampled_from(["", "", "", "submit.before_commit", "submit.after_commit"]),
    )
    def submit(self, order: tuple[int, int, str], name: str, dies_at: str) -> None:
        n, seconds, tier = order
        key, before = self.pick(self.keys, n), set(self.found())
        said, died = self.until_death(self.ask(key, seconds, tier, name), dies_at)
        if died:
            self.restart()
            if dies_at == "submit.before_commit":
                return
        expected = oracle.submit(key, seconds, tier, name, self.now())
        if isinstance(expected, str):
            assert said == expected
            return
        if expected not in self.ids:
            (self.ids[expected],) = set(self.found()) - before
        assert died or said == self.ids[expected]

    async def ask(self, key: Key, seconds: int, tier: str, name: str) -> str:
        """The id of a new task, or the code of a refusal."""
        gateway = self.world.gateway
        header = f"Bearer {self.keys[key].secret}"
        draft = Draft(MODEL, prompt="p", seconds=seconds, size=tier)
        try:
            caller = await Authenticator(gateway).caller(header)
            made = await submit(gateway, caller, draft, [], Repeatable(name or None))
        except Refusal as refusal:
            return refusal.code.value
        return made.task.id

    # ---- the worker -----------------------------------------------------------------------

    @precondition(lambda self: self.live())
    @rule(steps=st.lists(st.tuples(numbers, numbers, films, numbers), min_size=2, max_size=8))
    def work(self, steps: list[tuple[int, int, tuple[int, str], int]]) -> None:
        """Steps of one task or another; a worker takes it first, if none has it."""
        for n, answer, film, death in steps:
            # One of a few, so that some of them get somewhere.
            few = [
                *self.in_state(*ANSWERS.keys() - {"stranded"})[:3],
                *self.in_state("stranded")[:1],
            ]
            if not few:
                return
            job = self.pick(few, n)
            said = ANSWERS[job.state][answer % len(ANSWERS[job.state])]
            self.work_on(job, said, film, _death(oracle.PLANS[job.state, said], death))

    @precondition(lambda self: self.in_state("running", "collecting"))
    @rule(n=numbers, film=films)
    def finish(self, n: int, film: tuple[int, str]) -> None:
        """A task meets nothing but good will from now on."""
        job = self.pick(self.in_state("running", "collecting"), n)
        while job.state not in ENDED:
            self.work_on(job, ANSWERS[job.state][0], film, "")

    def work_on(self, job: Job, said: str, film: tuple[int, str], dies_at: str) -> None:
        """A worker takes a task, if none has it, and does one step; we look at all there is."""
        if self.ids[job] not in self.world.drives:
            self.run(self.world.claim(self.task(job)))
        if self.step(job, said, film, dies_at):
            self.restart()
        self.the_product_agrees_with_the_oracle()

    def step(self, job: Job, said: str, film: tuple[int, str], dies_at: str) -> bool:
        """One step of a task in hand, in both worlds; whether the process died on the way."""
        if said == "gives half" and self.now() >= job.deadline:
            said = "gives all"
        self.tell(job.state, said, film)
        task = self.task(job)
        waits_ms, died = self.until_death(self.world.step(task), dies_at)
        self.world.provider.on_submit.clear()
        self.world.provider.on_poll.clear()
        self.world.provider.on_fetch.clear()
        assert job.step(said, film, dies_at, self.now()) is died
        if not died and waits_ms is None:
            assert job.state in ENDED
            del self.world.drives[task.id]
        return died

    def tell(self, state: str, said: str, film: tuple[int, str]) -> None:
        """Let the upstream answer like this."""
        provider = self.world.provider
        self.world.upstream.breaker = Breaker(lambda: self.now() / 1000)
        if state == "queued":
            provider.on_submit.append(SUBMIT[said])
        elif state == "running":
            provider.on_poll.append(POLL[said])
        elif state == "collecting":
            whole = _film(*film)
            cut = None if said == "gives all" else len(whole) // 2
            provider.on_fetch.append(Fetch(film=whole, cut_after=cut, from_start=True))

    @rule(ms=st.sampled_from([0, 1_000, 60_000, 600_000, 600_000, 8 * DAY_MS]), dies=st.booleans())
    def time_goes_by(self, ms: int, dies: bool) -> None:
        """What should be swept is; or the worker is killed while it waits."""
        self.world.clock.advance_ms(ms)
        if dies:
            self.restart()
        else:
            self.run(sweep.purge_expired(self.world.gateway))
            self.run(sweep.remove_orphans(self.world.gateway))

    def restart(self) -> None:
        """All that was in memory is gone; nothing was closed, signed off or handed back."""
        world = self.world
        upstream = new_upstream(world.provider, world.clock, name=world.upstream.name)
        world.upstream = upstream
        world.gateway = replace(
            world.gateway, db=self.open(), upstreams=Upstreams([upstream]), watch=Watch()
        )
        self.run(world.restart())

    # ---- who else ends tasks --------------------------------------------------------------

    @precondition(lambda self: self.ids)
    @rule(n=numbers, stops=st.booleans(), by_operator=st.booleans(), death=numbers)
    def cancel(self, n: int, stops: bool, by_operator: bool, death: int) -> None:
        dies_at = _death(oracle.end("cancelled"), death)
        job = self.pick(self.ids, n)
        self.world.provider.on_cancel.append(stops)
        task = self.task(job)
        work = (
            operator.cancel(self.world.gateway, task.id)
            if by_operator
            else cancel.cancel(self.world.gateway, task)
        )
        can = job.state == "queued" or (job.state == "running" and stops)
        refused = False
        try:
            _, died = self.until_death(work, dies_at)
        except Refusal:
            refused, died = True, False
        self.world.provider.on_cancel.clear()
        assert refused is not can
        if can and not (died and dies_at == "settle.before_commit"):
            job.become("cancelled")
        if died:
            self.restart()
        elif can:
            self.stumble(task)

    @precondition(lambda self: self.in_state("stranded"))
    @rule(n=numbers, how=st.sampled_from(["ran", "did not run", "found", "send again"]))
    def resolve(self, n: int, how: str) -> None:
        job = self.pick(self.in_state("stranded"), n)
        task = self.task(job)
        resolution: operator.Resolution
        match how:
            case "found":
                resolution, after = operator.Found("ref"), "running"
            case "send again":
                resolution, after = operator.SendAgain(), "queued"
            case _:
                resolution, after = operator.Lost(upstream_ran=how == "ran"), "failed"
        self.run(operator.resolve(self.world.gateway, task.id, resolution))
        job.become(after)
        if after == "failed":
            job.loss = job.loss if how == "ran" else 0
        else:
            job.deadline = self.now() + oracle.LIFETIME_MS
        self.stumble(task)

    def stumble(self, task: Task) -> None:
        """The worker that has the task in hand finds out that it is not its own any more."""
        drive = self.world.drives.pop(task.id, None)
        if drive is not None:
            assert self.run(advance.step(self.world.gateway, drive)) is None
            drive.release()

    # ---- what is there --------------------------------------------------------------------

    def pick(self, some: Iterable[T], n: int) -> T:
        choices = list(some)
        return choices[n % len(choices)]

    def in_state(self, *states: str) -> list[Job]:
        return [job for job in self.ids if job.state in states]

    def live(self) -> list[Job]:
        return [job for job in self.ids if job.state not in ENDED]

    def task(self, job: Job) -> Task:
        return self.found()[self.ids[job]]

    def found(self) -> dict[str, Task]:
        return self.run(self.world.gateway.db.read(_every_task))

    def until_death(self, work: Coroutine[Any, Any, T], dies_at: str) -> tuple[T | None, bool]:
        """What came of it, and whether the process died at that point before it was done."""
        if dies_at:
            crashpoints.arm(dies_at)
        try:
            return self.run(work), False
        except Died:
            return None, True
        finally:
            crashpoints._armed.clear()

    @invariant()
    def the_product_agrees_with_the_oracle(self) -> None:
        gateway = self.world.gateway
        assert self.run(check_world(gateway)) == []
        balances, found, settled = self.run(gateway.db.read(self.see))
        for account, account_id in self.accounts.items():
            assert balances[account_id] == Balance(account.available, account.held)
        assert set(found) == set(self.ids.values())
        sent = Counter(job.task_id for job in self.world.provider.jobs)
        for job, task_id in self.ids.items():
            assert (found[task_id].state, sent[task_id]) == (job.state, job.sent)
            end = settled[task_id]
            assert (end is None) is (job.state not in ENDED)
            if end is not None:
                assert (end.captured_micro, end.loss_micro) == (job.cost, job.loss)

    def see(
        self, tx: Reader
    ) -> tuple[dict[str, Balance | None], dict[str, Task], dict[str, Settlement | None]]:
        """All that the oracle knows too, as the database has it."""
        return (
            {account_id: ledger.balance(tx, account_id) for account_id in self.accounts.values()},
            _every_task(tx),
            {task_id: settlements.get(tx, task_id) for task_id in self.ids.values()},
        )


def _every_task(tx: Reader) -> dict[str, Task]:
    page = tasks.page(tx, None, after=None, limit=1_000, newest_first=False)
    return {task.id: task for task in page}


async def _later(work: Callable[[], T]) -> T:
    return work()


# ---- on both databases --------------------------------------------------------------------


def _run(fresh: Callable[[], Any], examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_os = SimpleNamespace(kill=_die, getpid=lambda: 0)
    monkeypatch.setattr(crashpoints, "os", fake_os)

    class Machine(Money):
        pass

    Machine.fresh = staticmethod(fresh)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_on_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def fresh() -> Iterator[tuple[str, Path]]:
        with TemporaryDirectory(dir=_IN_MEMORY) as folder:
            yield f"sqlite:///{folder}/reelgate.db", Path(folder)

    _run(fresh, 50, monkeypatch)


def test_on_postgres(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def fresh() -> Iterator[tuple[str, Path]]:
        with TemporaryDirectory() as folder, fresh_database(postgres_server) as url:
            yield url, Path(folder)

    _run(fresh, 3, monkeypatch)
