"""Several upstreams: who gets a task, who gets it next, and what happens while nobody can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reelgate import worker
from reelgate.domain.errors import TaskError
from reelgate.domain.model import Operation
from reelgate.domain.order import MediaDraft
from reelgate.domain.task import State, Task
from reelgate.flows import sweep, switches
from reelgate.flows.upstreams import RESTS, TokenBucket, Upstream, Upstreams
from reelgate.providers.base import (
    Accepted,
    Cause,
    CheckReport,
    Done,
    Job,
    NotTaken,
    Pending,
    Refused,
    SubmitAnswer,
    Uncertain,
    Verdict,
)
from reelgate.store import tasks
from reelgate.store.database import Database
from tests.support.fake_provider import FakeProvider
from tests.support.running import running, until
from tests.support.world import World, new_upstream, open_database, with_policy

LASTING = (
    Cause.BAD_CREDENTIALS,
    Cause.CREDITS_EXHAUSTED,
    Cause.MODEL_UNAVAILABLE,
    Cause.ZERO_DATA_RETENTION,
)


def beside(world: World, **fields: Any) -> tuple[FakeProvider, Upstream]:
    """A second upstream, asked after the first unless `fields` say otherwise."""
    provider = FakeProvider(film=world.provider.film)
    second = new_upstream(provider, world.clock, **{"priority": 1, **fields})
    world.gateway = replace(world.gateway, upstreams=Upstreams([world.upstream, second]))
    return provider, second


# ---- fail-over ----------------------------------------------------------------------------


@pytest.mark.parametrize("cause", Cause)
async def test_what_the_first_certainly_did_not_take_goes_to_the_next_at_once(
    world: World, cause: Cause
) -> None:
    other, second = beside(world)
    world.provider.on_submit.append(NotTaken(cause, "no"))
    began_ms = world.clock.now_ms()
    task = await world.live(await world.submit(), until=State.RUNNING)
    assert task.upstream == second.name
    assert world.clock.now_ms() - began_ms < 10
    assert (len(world.provider.jobs), len(other.jobs)) == (1, 1)
    task = await world.live(task)
    assert task.state is State.COMPLETED
    assert [kind for kind, _ in await world.entries(task)] == ["hold", "capture"]


@pytest.mark.parametrize("answer", [Uncertain(Cause.OVERLOADED, "502"), TimeoutError()])
async def test_what_the_first_may_have_goes_nowhere_else(
    world: World, answer: SubmitAnswer | TimeoutError
) -> None:
    other, _ = beside(world)
    world.provider.on_submit.append(answer)
    task = await world.live(await world.submit())
    assert task.failure is not None and task.failure.code is TaskError.OUTCOME_UNKNOWN
    assert (len(world.provider.jobs), len(other.jobs)) == (1, 0)


async def test_a_refusal_is_a_verdict_and_not_asked_for_elsewhere(world: World) -> None:
    """A second opinion of moderation is paid for, and against the first one's terms."""
    other, _ = beside(world)
    world.provider.on_submit.append(Refused(Verdict.MODERATED, "Not this."))
    task = await world.live(await world.submit())
    assert task.failure is not None
    assert task.failure.code is TaskError.CONTENT_POLICY_VIOLATION
    assert other.jobs == []


async def test_when_all_decline_it_goes_round_until_one_takes_it(world: World) -> None:
    other, _ = beside(world)
    world.provider.on_submit += [NotTaken(Cause.RATE_LIMITED, "busy")] * 3
    other.on_submit += [NotTaken(Cause.OVERLOADED, "busy")] * 3
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED
    assert task.attempts <= 6
    assert len(world.provider.jobs) + len(other.jobs) == task.attempts + 1


# ---- what an upstream can do --------------------------------------------------------------


async def test_operations_and_sizes_decide(world: World) -> None:
    texts = frozenset({Operation.TEXT_TO_VIDEO})
    big, second = beside(world, operations=texts, tiers=frozenset({"720p"}))
    world.upstream.tiers = frozenset({"480p"})
    small = await world.live(await world.submit(), until=State.RUNNING)
    large = await world.live(await world.submit(size="720p"), until=State.RUNNING)
    assert (small.upstream, large.upstream) == (world.upstream.name, second.name)
    assert (len(world.provider.jobs), len(big.jobs)) == (1, 1)


async def test_a_source_decides_the_size_of_an_edit(world: World, film: bytes) -> None:
    other, second = beside(world, tiers=frozenset({"480p"}))
    world.upstream.tiers = frozenset({"720p"})
    created = await world.submit(seconds=None, video=MediaDraft("video", data=film))
    assert created.lane.tier == "480p"
    task = await world.live(created, until=State.RUNNING)
    assert task.upstream == second.name
    assert (len(world.provider.jobs), len(other.jobs)) == (0, 1)


async def test_when_no_upstream_can_do_it_the_task_says_so(world: World) -> None:
    world.upstream.operations = frozenset({Operation.EDIT_VIDEO})
    task = await world.live(await world.submit(size="720p"))
    assert task.failure is not None
    assert task.failure.code is TaskError.UPSTREAM_UNAVAILABLE
    assert task.failure.message == (
        "No upstream is set up for text_to_video with grok-imagine at 720p. Nothing was charged."
    )
    assert world.provider.jobs == []
    assert [kind for kind, _ in await world.entries(task)] == ["hold", "release"]


# ---- while nobody can ---------------------------------------------------------------------


@pytest.mark.parametrize("cause", Cause)
async def test_a_task_waits_in_the_queue_and_finishes_when_one_is_back(
    world: World, cause: Cause, caplog: pytest.LogCaptureFixture
) -> None:
    other, second = beside(world)
    for provider in (world.provider, other):
        provider.on_submit += [NotTaken(cause, "the words of the upstream")] * 4
    caplog.set_level(logging.INFO, logger="reelgate.upstream")
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED
    resting = [r for r in caplog.records if r.message == "upstream is left alone"]
    said = {(r.__dict__["cause"], r.__dict__["detail"]) for r in resting}
    assert said == {(cause.value, "the words of the upstream")}
    assert any(r.message == "upstream works again" for r in caplog.records)
    assert second.breaker.cause in {None, cause}


async def test_a_task_that_nobody_takes_expires_though_no_worker_holds_it(world: World) -> None:
    world.upstream.disabled = True
    task = await world.submit()
    assert await sweep.expire_unsent(world.gateway) == 0
    world.clock.advance_ms(world.gateway.policy.task_deadline_ms)
    assert await sweep.expire_unsent(world.gateway) == 1
    ended = await world.look(task)
    assert (ended.state, ended.failure and ended.failure.code) == (State.EXPIRED, TaskError.EXPIRED)
    assert await world.balance() == (100_000_000, 0)
    assert await sweep.expire_unsent(world.gateway) == 0


async def test_a_disabled_upstream_gets_no_new_jobs_but_is_asked_about_those_it_has(
    world: World,
) -> None:
    world.provider.on_poll += [Pending(10)] * 3
    running_task = await world.live(await world.submit(), until=State.RUNNING)
    waiting = await world.submit()
    await switches.disable(world.gateway, world.upstream.name, note="maintenance")
    assert world.upstream.disabled
    assert (await world.live(running_task)).state is State.COMPLETED
    drive = await world.claim(waiting)
    assert await world.step(waiting) is not None
    assert drive.slot is None
    assert len(world.provider.jobs) == 1
    await switches.enable(world.gateway, world.upstream.name)
    assert (await world.live(waiting)).state is State.COMPLETED


async def test_enabling_an_upstream_ends_its_rest(world: World) -> None:
    world.provider.on_submit.append(NotTaken(Cause.CREDITS_EXHAUSTED, "no credits"))
    task = await world.submit()
    await world.claim(task)
    await world.step(task)
    await switches.tell_troubles(world.gateway)
    assert world.upstream.wait_ms() == RESTS[Cause.CREDITS_EXHAUSTED].first_ms
    await switches.disable(world.gateway, world.upstream.name)
    await switches.enable(world.gateway, world.upstream.name)
    assert world.upstream.wait_ms() == 0
    (health,) = await switches.health(world.gateway)
    assert health.trouble is None


# ---- what the operator sees ---------------------------------------------------------------


@pytest.mark.parametrize("cause", LASTING)
async def test_what_only_an_operator_can_mend_is_told_apart(world: World, cause: Cause) -> None:
    world.provider.on_submit += [NotTaken(cause, "HTTP 4xx its own words")] * 2
    task = await world.submit()
    await world.claim(task)
    await world.step(task)
    since_ms = world.clock.now_ms()
    await switches.tell_troubles(world.gateway)
    (health,) = await switches.health(world.gateway)
    assert health.trouble is not None
    assert (health.trouble.cause, health.trouble.detail) == (cause.value, "HTTP 4xx its own words")
    assert (health.trouble.since_ms, health.paused_ms) == (since_ms, 60_000)
    task = await world.live(task)
    assert task.state is State.COMPLETED
    await switches.tell_troubles(world.gateway)
    (health,) = await switches.health(world.gateway)
    assert (health.trouble, health.paused_ms) == (None, 0)


def tried(attempts: int) -> Callable[[Task], bool]:
    return lambda task: task.attempts == attempts


async def test_trouble_that_goes_on_keeps_its_beginning(world: World) -> None:
    world.provider.on_submit += [NotTaken(Cause.BAD_CREDENTIALS, "401")] * 3
    task = await world.submit()
    began_ms = world.clock.now_ms()
    for attempts in (1, 2):
        await world.live(task, until=tried(attempts))
        await switches.tell_troubles(world.gateway)
    (health,) = await switches.health(world.gateway)
    assert health.trouble is not None
    assert health.trouble.since_ms - began_ms < 1_000
    assert 118_000 < health.paused_ms <= 120_000


async def test_a_node_that_has_just_begun_knows_of_no_trouble(world: World) -> None:
    world.provider.on_submit.append(NotTaken(Cause.BAD_CREDENTIALS, "401"))
    task = await world.submit()
    await world.claim(task)
    await world.step(task)
    await switches.tell_troubles(world.gateway)
    fresh = new_upstream(world.provider, world.clock, name=world.upstream.name)
    gateway = replace(world.gateway, upstreams=Upstreams([fresh]))
    await switches.tell_troubles(gateway)
    (health,) = await switches.health(gateway)
    assert health.trouble is None


# ---- after a rest -------------------------------------------------------------------------


async def rested(world: World) -> Task:
    """A task behind an upstream whose rest is over."""
    world.provider.on_submit.append(NotTaken(Cause.BAD_CREDENTIALS, "401"))
    task = await world.submit()
    await world.claim(task)
    await world.step(task)
    world.crash()
    await world.restart()
    world.clock.advance_ms(RESTS[Cause.BAD_CREDENTIALS].first_ms)
    return task


@pytest.mark.parametrize(
    "report",
    [
        CheckReport(False, None, (), "no connection"),
        CheckReport(True, False, (), "401"),
        CheckReport(True, True, ("fake-video",), "not served: fake-video"),
        TimeoutError(),
    ],
)
async def test_no_job_is_put_at_risk_while_a_free_question_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, report: CheckReport | TimeoutError
) -> None:
    task = await rested(world)

    async def check(_self: FakeProvider, models: tuple[str, ...]) -> CheckReport:
        assert models == ("fake-video",)
        if isinstance(report, TimeoutError):
            raise report
        return report

    monkeypatch.setattr(FakeProvider, "check", check)
    await world.claim(task)
    await world.step(task)
    assert len(world.provider.jobs) == 1
    assert world.upstream.breaker.resting
    assert world.upstream.wait_ms() >= 60_000
    assert (await world.look(task)).state is State.QUEUED
    monkeypatch.undo()
    assert (await world.live(task)).state is State.COMPLETED


async def test_one_job_tries_and_the_others_wait_for_what_becomes_of_it(world: World) -> None:
    first = await rested(world)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly() -> SubmitAnswer:
        asked.set()
        await answer.wait()
        return Accepted("ref", poll_after_ms=1)

    world.provider.on_submit.append(slowly)
    others = [await world.submit() for _ in range(5)]
    for task in (first, *others):
        await world.claim(task)
    trying = asyncio.create_task(world.step(first))
    await asked.wait()
    for task in others:
        assert await world.step(task) == 500
    assert len(world.provider.jobs) == 2
    answer.set()
    await trying
    assert (await world.look(first)).state is State.RUNNING
    for task in others:
        await world.step(task)
    assert len(world.provider.jobs) == 7


# ---- where repeats are safe ---------------------------------------------------------------


async def pinned(world: World) -> Task:
    """A task that an upstream may have, where sending it again is safe."""
    with_policy(world, task_deadline_ms=60_000)
    world.provider.repeat_safe = True
    world.provider.on_submit.append(Uncertain(Cause.NETWORK, "reset"))
    task = await world.live(await world.submit(), until=tried(1))
    assert (task.state, task.upstream) == (State.QUEUED, world.upstream.name)
    return task


async def test_what_one_may_have_is_sent_again_there_and_nowhere_else(world: World) -> None:
    other, _ = beside(world, priority=0, weight=1_000)
    world.upstream.priority = 0
    task = await world.submit()
    world.provider.repeat_safe = other.repeat_safe = True
    first = world.upstream if not other.jobs else None
    for provider in (world.provider, other):
        provider.on_submit += [Uncertain(Cause.NETWORK, "reset")] * 5
    task = await world.live(task)
    assert task.state is State.COMPLETED
    assert first is not None
    assert {len(world.provider.jobs), len(other.jobs)} == {0, 6}


@pytest.mark.parametrize("away", ["disabled", "gone"])
async def test_while_that_one_is_away_nobody_else_is_asked(world: World, away: str) -> None:
    task = await pinned(world)
    other, second = beside(world)
    if away == "gone":
        world.gateway = replace(world.gateway, upstreams=Upstreams([second]))
    world.upstream.disabled = True
    await world.restart()
    task = await world.live(task)
    assert other.jobs == []
    assert len(world.provider.jobs) == 1
    assert task.failure is not None and task.failure.code is TaskError.OUTCOME_UNKNOWN
    settlement = await world.settlement(task)
    assert settlement is not None and settlement.loss_micro == task.held_micro


async def test_such_a_task_expires_as_unknown_in_nobodys_hands_too(world: World) -> None:
    task = await pinned(world)
    world.crash()
    await world.restart()
    world.clock.advance_ms(world.gateway.policy.task_deadline_ms)
    assert await sweep.expire_unsent(world.gateway) == 1
    ended = await world.look(task)
    assert ended.failure is not None and ended.failure.code is TaskError.OUTCOME_UNKNOWN


# ---- limits -------------------------------------------------------------------------------


async def test_a_stranded_task_holds_no_place(world: World) -> None:
    world.upstream.max_in_flight = 1
    world.provider.on_submit.append(Uncertain(Cause.NETWORK, "reset"))
    stranded = await world.live(await world.submit(), until=State.STRANDED)
    assert (await world.live(await world.submit())).state is State.COMPLETED
    assert (await world.look(stranded)).state is State.STRANDED


async def test_places_come_back_from_every_end(world: World) -> None:
    world.upstream.max_in_flight = 1
    world.provider.on_submit += [Refused(Verdict.FAILED, "no"), NotTaken(Cause.OVERLOADED, "busy")]
    for _ in range(3):
        await world.live(await world.submit())
    assert (world.upstream.in_flight, world.upstream.unanswered) == (0, 0)


async def test_two_nodes_share_the_limits_of_an_upstream(world: World) -> None:
    """On one PostgreSQL: what one has taken the other does not get."""
    if not world.gateway.db.shared:
        pytest.skip("one SQLite file has one worker")
    world.upstream.max_in_flight = 2
    world.upstream.bucket = TokenBucket(2.0, lambda: world.clock.now_ms() / 1000)
    here = world.gateway
    there_up = new_upstream(world.provider, world.clock, name=world.upstream.name, max_in_flight=2)
    there_up.bucket = TokenBucket(2.0, lambda: world.clock.now_ms() / 1000)
    there = replace(here, upstreams=Upstreams([there_up]))
    made = [await world.submit() for _ in range(6)]
    for number, task in enumerate(made):
        await world.claim(task)
        world.gateway = here if number % 2 else there
        await world.step(task)
    assert len(world.provider.jobs) == 2
    world.clock.advance_ms(5_000)
    for number, task in enumerate(made):
        if (await world.look(task)).state is State.QUEUED:
            world.gateway = here if number % 2 else there
            await world.step(task)
    assert len(world.provider.jobs) == 2  # there is a pace again, but no place
    world.gateway = here
    for task in made:
        await world.live(task)
    assert len(world.provider.jobs) == 6
    assert (world.upstream.unanswered, there_up.unanswered) == (0, 0)


# ---- in the hands of a worker -------------------------------------------------------------


@pytest.fixture
async def db(sqlite_url: str) -> AsyncIterator[Database]:
    database = open_database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
async def either_db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


def node(name: str, provider: FakeProvider, **fields: Any) -> Upstream:
    return Upstream(
        **{
            "name": name,
            "provider": provider,
            "models": {"grok-imagine": name},
            "bucket": TokenBucket(1000.0),
            **fields,
        }
    )


TEXTS = frozenset({Operation.TEXT_TO_VIDEO})
OTHERS = frozenset(Operation) - TEXTS


async def test_a_long_queue_for_a_blocked_upstream_is_in_nobodys_way(
    either_db: Database, tmp_path: Path, film: bytes, png: bytes
) -> None:
    down, works = FakeProvider(), FakeProvider(film=film)
    ups = [
        node("down", down, operations=TEXTS, disabled=True),
        node("works", works, operations=OTHERS),
    ]
    async with running(either_db, tmp_path / "media", ups) as gate:
        await switches.disable(gate.gateway, "down")
        queued = [await gate.submit() for _ in range(700)]
        task = await gate.submit(image=MediaDraft("image", data=png))
        async with asyncio.timeout(20):
            assert (await gate.when(task)).state is State.COMPLETED
        assert down.jobs == []
        held = await either_db.read(partial(tasks.leased_by, worker_id=gate.worker._id))
        assert not held & {other.id for other in queued}


async def test_a_queue_is_served_in_order_at_the_pace_of_its_upstream(
    db: Database, tmp_path: Path, film: bytes
) -> None:
    provider = FakeProvider(film=film)
    slow = node("slow", provider, bucket=TokenBucket(20.0))
    async with running(db, tmp_path / "media", [slow]) as gate:
        made = [await gate.submit() for _ in range(40)]
        for task in made:
            assert (await gate.when(task)).state is State.COMPLETED
    sent = [job.task_id for job in provider.jobs]
    order = [task.id for task in made]
    late = [abs(sent.index(task_id) - place) for place, task_id in enumerate(order)]
    assert max(late) <= 20  # within a burst any order will do


async def test_the_next_is_sent_when_a_place_is_free(
    either_db: Database, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when somebody happens to look at the queue again."""
    monkeypatch.setattr("reelgate.worker._LOOK_MS", 3_600_000)
    monkeypatch.setattr("reelgate.flows.upstreams.LOOK_AGAIN_MS", 3_600_000)
    provider = FakeProvider(film=film)
    narrow = node("narrow", provider, max_in_flight=1)
    async with running(either_db, tmp_path / "media", [narrow]) as gate:
        for task in [await gate.submit() for _ in range(6)]:
            assert (await gate.when(task)).state is State.COMPLETED
    assert narrow.in_flight == 0


async def forever() -> Any:
    await asyncio.Event().wait()


class Hanging(FakeProvider):
    """An upstream that takes calls and never answers."""

    async def submit(self, job: Job) -> SubmitAnswer:
        if "submit" in job.prompt:
            await forever()
        return await super().submit(job)

    async def poll(self, ref: str) -> Any:
        if self.jobs[int(ref.partition("-")[2]) - 1].prompt == "hangs at poll":
            await forever()
        return Done(f"film of {ref}")

    def fetch(self, result: str, offset: int = 0, etag: str | None = None) -> Any:
        return _Stuck()


class _Stuck:
    async def __aenter__(self) -> Any:
        await forever()

    async def __aexit__(self, *_: object) -> None:
        """Never entered."""


@pytest.mark.parametrize("where", ["submit", "poll", "fetch"])
async def test_a_hung_upstream_delays_nobody_elses_tasks(
    db: Database, tmp_path: Path, film: bytes, png: bytes, where: str
) -> None:
    works = FakeProvider(film=film)
    ups = [
        node("hung", Hanging(), operations=TEXTS),
        node("works", works, operations=OTHERS),
    ]
    async with running(db, tmp_path / "media", ups) as gate:
        state = State.COLLECTING if where == "fetch" else State.RUNNING
        stuck = [await gate.submit(f"hangs at {where}") for _ in range(60)]
        if where != "submit":
            for task in stuck:
                await gate.when(task, state)
        async with asyncio.timeout(20):
            for _ in range(5):
                task = await gate.submit(image=MediaDraft("image", data=png))
                assert (await gate.when(task)).state is State.COMPLETED
        for task in stuck:
            assert not (await gate.look(task)).ended


async def test_a_source_that_is_slow_to_measure_holds_up_no_other_task(
    db: Database, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer's server that hangs takes none of the places at the upstream."""
    provider = FakeProvider(film=film)
    measuring = 0

    async def measured(_gateway: object, task: Task) -> Task:
        nonlocal measuring
        if task.order.video is not None and task.order.video.url is not None:
            measuring += 1
            await forever()
        return task

    monkeypatch.setattr("reelgate.flows.send.sources.measured", measured)
    narrow = node("narrow", provider, max_in_flight=2, bucket=TokenBucket(1000.0))
    async with running(db, tmp_path / "media", [narrow]) as gate:
        slow = MediaDraft("video", url="https://tarpit.example/source.mp4")
        for _ in range(150):
            await gate.submit(seconds=None, video=slow)
        async with asyncio.timeout(30):
            assert (await gate.when(await gate.submit())).state is State.COMPLETED
            own = MediaDraft("video", data=film)
            edit = await gate.submit(seconds=None, video=own)
            assert (await gate.when(edit)).state is State.COMPLETED
            await until(lambda: measuring >= 100)
            for _ in range(3):
                assert (await gate.when(await gate.submit())).state is State.COMPLETED
        assert measuring < 110


async def test_a_worker_follows_what_is_switched_elsewhere_and_ends_what_is_overdue(
    db: Database, tmp_path: Path, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = tuple((chore, 50) for chore, _ in worker._CHORES)
    monkeypatch.setattr("reelgate.worker._CHORES", often)
    provider = FakeProvider(film=film)
    async with running(
        db, tmp_path / "media", [node("up", provider)], task_deadline_ms=900
    ) as gate:
        elsewhere = replace(gate.gateway, upstreams=Upstreams([node("up", provider)]))
        here = gate.gateway.upstreams.get("up")
        assert here is not None
        await switches.disable(elsewhere, "up")
        await until(lambda: here.disabled)
        overdue = await gate.submit()
        assert (await gate.when(overdue)).state is State.EXPIRED
        task = await gate.submit()
        await switches.enable(elsewhere, "up")
        assert (await gate.when(task)).state is State.COMPLETED
        provider.on_submit.append(NotTaken(Cause.BAD_CREDENTIALS, "401"))
        await gate.submit()

        async def trouble_is_told() -> bool:
            (health,) = await switches.health(elsewhere)
            return health.trouble is not None

        await until(trouble_is_told)
