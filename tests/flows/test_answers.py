"""Every answer that an upstream can give: where it brings the task, and what it costs whom."""

from __future__ import annotations

import pytest

from reelgate.domain.errors import TaskError
from reelgate.domain.task import State
from reelgate.flows.verdicts import ERROR_OF
from reelgate.providers.base import (
    Accepted,
    Cause,
    Done,
    Failed,
    FetchError,
    NotTaken,
    Pending,
    Refused,
    ResultChanged,
    ResultGone,
    Trouble,
    Uncertain,
    Verdict,
)
from tests.support.fake_provider import Fetch
from tests.support.world import World, picture, with_policy

TWO_SECONDS_MICRO = 100_000
DEADLINE_MS = 1_800_000
GONE_TO_WORK = [State.QUEUED, State.SENDING, State.RUNNING]
COMPLETED = [*GONE_TO_WORK, State.COLLECTING, State.COMPLETED]
PAID = [("hold", TWO_SECONDS_MICRO), ("capture", TWO_SECONDS_MICRO)]
GIVEN_BACK = [("hold", TWO_SECONDS_MICRO), ("release", TWO_SECONDS_MICRO)]
WITH_LOSS = [*GIVEN_BACK, ("adjust", TWO_SECONDS_MICRO)]


# ---- the submit ---------------------------------------------------------------------------


async def test_accepted_done_and_delivered_is_charged_once(world: World) -> None:
    world.provider.on_poll += [Pending(10), Pending(60), Done("film", cost_ticks=7)]
    task = await world.live(await world.submit())
    assert await world.path(task) == COMPLETED
    assert await world.entries(task) == PAID
    assert (task.progress, task.failure) == (100, None)
    assert task.result is not None
    assert (await world.gateway.media.read(task.result.key)) == world.provider.film
    settlement = await world.settlement(task)
    assert settlement is not None and settlement.upstream_cost_ticks == 7
    assert await world.balance() == (100_000_000 - TWO_SECONDS_MICRO, 0)


@pytest.mark.parametrize("verdict", Verdict)
async def test_a_refused_submit_ends_the_task_and_costs_its_owner_nothing(
    world: World, verdict: Verdict
) -> None:
    world.provider.on_submit.append(Refused(verdict, "Not this one.", cost_ticks=500))
    task = await world.live(await world.submit())
    assert await world.path(task) == [State.QUEUED, State.SENDING, State.FAILED]
    assert task.failure is not None
    assert (task.failure.code, task.failure.message) == (ERROR_OF[verdict], "Not this one.")
    assert await world.entries(task) == GIVEN_BACK
    settlement = await world.settlement(task)
    assert settlement is not None and settlement.upstream_cost_ticks == 500
    assert len(world.provider.jobs) == 1


@pytest.mark.parametrize("cause", Cause)
async def test_a_job_that_was_certainly_not_taken_is_sent_again(world: World, cause: Cause) -> None:
    world.provider.on_submit += [NotTaken(cause, "busy"), NotTaken(cause, "busy", 2_000)]
    task = await world.live(await world.submit())
    again = [State.QUEUED, State.SENDING]
    assert await world.path(task) == [*again, *again, *COMPLETED]
    assert await world.entries(task) == PAID
    assert (task.attempts, len(world.provider.jobs)) == (2, 3)


async def test_a_job_that_nobody_takes_expires_at_its_deadline(world: World) -> None:
    world.provider.on_submit += [NotTaken(Cause.OVERLOADED, "busy")] * 1000
    created = await world.submit()
    task = await world.live(created)
    assert (task.state, task.failure and task.failure.code) == (State.EXPIRED, TaskError.EXPIRED)
    assert task.ended_at_ms is not None
    assert 0 <= task.ended_at_ms - created.deadline_at_ms < 1_000
    assert await world.entries(task) == GIVEN_BACK


@pytest.mark.parametrize("cause", Cause)
async def test_an_uncertain_submit_is_never_sent_again(world: World, cause: Cause) -> None:
    world.provider.on_submit.append(Uncertain(cause, "the line went dead"))
    task = await world.live(await world.submit(), until=State.STRANDED)
    assert await world.path(task) == [State.QUEUED, State.SENDING, State.STRANDED]
    assert await world.balance() == (100_000_000 - TWO_SECONDS_MICRO, TWO_SECONDS_MICRO)
    await world.restart()
    task = await world.live(task)
    assert (task.state, task.failure and task.failure.code) == (
        State.FAILED,
        TaskError.OUTCOME_UNKNOWN,
    )
    assert task.ended_at_ms is not None and task.ended_at_ms >= task.deadline_at_ms
    assert await world.entries(task) == WITH_LOSS
    settlement = await world.settlement(task)
    assert settlement is not None
    assert (settlement.captured_micro, settlement.loss_micro) == (0, TWO_SECONDS_MICRO)
    assert len(world.provider.jobs) == 1


async def test_a_submit_that_hangs_strands_its_task(world: World) -> None:
    world.provider.on_submit.append(TimeoutError())
    task = await world.live(await world.submit(), until=State.STRANDED)
    assert task.state is State.STRANDED
    assert world.upstream.breaker.cause is Cause.NETWORK


async def test_a_provider_that_breaks_down_while_sending_strands_its_task(world: World) -> None:
    world.provider.on_submit.append(ZeroDivisionError())
    task = await world.submit()
    await world.claim(task)
    with pytest.raises(ZeroDivisionError):
        await world.step(task)
    task = await world.live(task, until=State.STRANDED)
    assert (task.state, len(world.provider.jobs)) == (State.STRANDED, 1)


@pytest.mark.parametrize("uncertain", [Uncertain(Cause.NETWORK, "reset"), TimeoutError()])
async def test_where_repeats_are_safe_an_uncertain_submit_is_repeated_there(
    world: World, uncertain: Uncertain | TimeoutError
) -> None:
    world.provider.repeat_safe = True
    world.provider.on_submit.append(uncertain)
    task = await world.live(await world.submit())
    assert await world.path(task) == [State.QUEUED, State.SENDING, *COMPLETED]
    assert [job.task_id for job in world.provider.jobs] == [task.id, task.id]


async def test_a_lost_input_ends_the_task_before_anything_is_sent(world: World, png: bytes) -> None:
    created = await world.submit(image=picture(png))
    (image,) = created.order.images
    assert await world.gateway.media.delete(image.key or "")
    task = await world.live(created)
    assert task.failure is not None and task.failure.code is TaskError.INPUT_UNREACHABLE
    assert world.provider.jobs == []
    assert [kind for kind, _ in await world.entries(task)] == ["hold", "release"]


async def test_uploads_reach_the_upstream_whole_and_go_when_the_task_has_ended(
    world: World, png: bytes
) -> None:
    created = await world.submit(image=picture(png))
    (image,) = created.order.images
    assert await world.gateway.media.read(image.key or "") == png
    task = await world.live(created)
    assert task.state is State.COMPLETED
    assert world.provider.inputs == [png]
    assert await world.gateway.media.size(image.key or "") is None


# ---- polling ------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", Verdict)
async def test_a_failed_job_gives_the_hold_back(world: World, verdict: Verdict) -> None:
    world.provider.on_poll += [Pending(), Failed(verdict, "It broke.", cost_ticks=9)]
    task = await world.live(await world.submit())
    assert await world.path(task) == [*GONE_TO_WORK, State.FAILED]
    assert task.failure is not None
    assert (task.failure.code, task.failure.message) == (ERROR_OF[verdict], "It broke.")
    assert await world.entries(task) == GIVEN_BACK
    settlement = await world.settlement(task)
    assert settlement is not None and settlement.upstream_cost_ticks == 9


@pytest.mark.parametrize("cause", Cause)
async def test_trouble_is_backed_off_from_and_never_fails_a_task(
    world: World, cause: Cause
) -> None:
    world.provider.on_poll += [Trouble(cause, "?"), Trouble(cause, "?", 7_000), TimeoutError()]
    task = await world.live(await world.submit())
    assert await world.path(task) == COMPLETED


async def test_backing_off_grows_and_honours_retry_after(world: World) -> None:
    world.provider.on_poll += [Trouble(Cause.OVERLOADED, "?")] * 6
    world.provider.on_poll.append(Trouble(Cause.RATE_LIMITED, "?", retry_after_ms=29_000))
    task = await world.live(await world.submit(), until=State.RUNNING)
    waits = [await world.step(task) or 0 for _ in range(7)]
    assert waits[0] <= 1_000 and waits[5] > 15_000
    assert max(waits) <= 30_000
    assert waits[6] >= 29_000


async def test_a_question_that_is_refused_for_a_minute_is_the_verdict(world: World) -> None:
    doubt = Trouble(Cause.JOB_UNKNOWN, "404", if_repeated=Failed(Verdict.EXPIRED, "It is gone."))
    world.provider.on_poll += [doubt] * 1000
    task = await world.live(await world.submit())
    assert (task.state, task.failure and task.failure.code) == (State.FAILED, TaskError.EXPIRED)
    assert task.ended_at_ms is not None and task.sent_at_ms is not None
    assert 60_000 <= task.ended_at_ms - task.sent_at_ms < 120_000


async def test_a_question_that_is_refused_now_and_then_is_not(world: World) -> None:
    doubt = Trouble(Cause.JOB_UNKNOWN, "404", if_repeated=Failed(Verdict.EXPIRED, "Gone."))
    world.provider.on_poll += [doubt, doubt, Pending(5)] * 60
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED


@pytest.mark.parametrize(
    "answer", [Pending(50), Trouble(Cause.NETWORK, "?"), Trouble(Cause.UNREADABLE, "?", 25_000)]
)
async def test_at_the_deadline_there_is_one_last_poll(
    world: World, answer: Pending | Trouble
) -> None:
    asked_at_ms: list[int] = []

    async def ask() -> Pending | Trouble:
        asked_at_ms.append(world.clock.now_ms())
        return answer

    world.provider.on_poll += [ask] * 2000
    with_policy(world, poll_ms_min=60_000, poll_ms_max=60_000)
    task = await world.live(await world.submit())
    assert (task.state, task.failure and task.failure.code) == (State.EXPIRED, TaskError.EXPIRED)
    assert asked_at_ms[-2] < task.deadline_at_ms <= asked_at_ms[-1]
    assert task.ended_at_ms is not None and task.ended_at_ms - task.deadline_at_ms < 1_000
    assert await world.entries(task) == GIVEN_BACK
    assert world.provider.cancels == ["ref-1"]


async def test_a_first_poll_never_waits_past_the_deadline(world: World) -> None:
    world.provider.on_submit.append(Accepted("ref", poll_after_ms=10 * DEADLINE_MS))
    created = await world.submit()
    task = await world.live(created)
    assert task.state is State.COMPLETED
    assert world.clock.now_ms() - created.deadline_at_ms < 1_000


async def test_a_film_that_is_done_at_the_last_poll_is_delivered(world: World) -> None:
    with_policy(world, task_deadline_ms=60_000, poll_ms_min=45_000, poll_ms_max=45_000)
    world.provider.on_poll += [Pending(), Pending()]
    created = await world.submit()
    task = await world.live(created)
    assert task.state is State.COMPLETED
    assert len(world.provider.polls) == 3


async def test_an_upstream_that_hangs_when_told_to_stop_does_not_hold_up_the_end(
    world: World,
) -> None:
    with_policy(world, task_deadline_ms=1_000)
    world.provider.on_poll += [Pending()] * 10
    world.provider.on_cancel.append(TimeoutError())
    task = await world.live(await world.submit())
    assert task.state is State.EXPIRED


async def test_progress_never_falls_and_stays_below_100_until_the_end(world: World) -> None:
    world.provider.on_poll += [Pending(p) for p in (10, 12, 40, 5, None, 99, 100, 3)]
    task = await world.live(await world.submit(), until=State.RUNNING)
    seen = []
    while task.state is State.RUNNING:
        await world.step(task)
        task = await world.look(task)
        seen.append(task.progress)
    assert seen == sorted(seen)
    assert max(seen) == 99


async def test_a_pending_poll_is_not_written(world: World) -> None:
    world.provider.on_poll += [Pending(0)] * 20
    task = await world.live(await world.submit(), until=State.RUNNING)
    before = await world.look(task)
    for _ in range(20):
        await world.step(task)
    assert await world.look(task) == before


# ---- fetching the result ------------------------------------------------------------------


async def test_a_download_that_fails_is_tried_again(world: World) -> None:
    world.provider.on_fetch += [FetchError("reset"), FetchError("reset"), TimeoutError()]
    task = await world.live(await world.submit())
    assert await world.path(task) == COMPLETED
    assert len(world.provider.fetches) == 4
    assert len(world.provider.jobs) == 1


async def test_a_download_that_breaks_off_is_resumed_where_it_broke(
    world: World, film: bytes
) -> None:
    world.provider.on_fetch += [Fetch(cut_after=30_000), Fetch(cut_after=20_000)]
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED
    assert [(at, etag) for _, at, etag in world.provider.fetches] == [
        (0, None),
        (30_000, '"1"'),
        (50_000, '"1"'),
    ]
    assert task.result is not None and task.result.bytes == len(film)
    assert await world.gateway.media.read(task.result.key) == film


async def test_a_server_that_can_not_resume_sends_it_all_again(world: World, film: bytes) -> None:
    world.provider.on_fetch += [Fetch(cut_after=30_000), Fetch(from_start=True)]
    task = await world.live(await world.submit())
    assert task.result is not None and task.result.bytes == len(film)
    assert await world.gateway.media.read(task.result.key) == film


async def test_a_result_that_has_changed_meanwhile_is_fetched_anew(
    world: World, film: bytes
) -> None:
    world.provider.on_fetch += [
        Fetch(film=bytes(40_000), cut_after=30_000),
        ResultChanged("another ETag"),
    ]
    task = await world.live(await world.submit())
    assert [at for _, at, _ in world.provider.fetches] == [0, 30_000, 0]
    assert task.result is not None
    assert await world.gateway.media.read(task.result.key) == film


async def test_a_crash_in_the_middle_of_a_download_costs_the_download_only(
    world: World, film: bytes
) -> None:
    world.provider.on_fetch.append(Fetch(cut_after=60_000))
    task = await world.live(await world.submit(), until=State.COLLECTING)
    await world.step(task)
    await world.restart()
    task = await world.live(task)
    assert [at for _, at, _ in world.provider.fetches] == [0, 0]
    assert task.result is not None
    assert await world.gateway.media.read(task.result.key) == film


async def test_a_dead_link_is_replaced_by_a_fresh_one(world: World) -> None:
    world.provider.on_poll += [Done("old link"), Done("new link")]
    world.provider.on_fetch.append(ResultGone("403"))
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED
    assert [link for link, _, _ in world.provider.fetches] == ["old link", "new link"]


async def test_links_that_die_one_after_another_are_not_hammered_for_ever(world: World) -> None:
    world.provider.on_poll += [Done(f"link {n}") for n in range(10_000)]
    world.provider.on_fetch += [ResultGone("403")] * 10_000
    task = await world.live(await world.submit())
    assert task.failure is not None and task.failure.code is TaskError.UPSTREAM_UNAVAILABLE
    assert task.ended_at_ms is not None and task.ended_at_ms >= task.deadline_at_ms
    assert len(world.provider.fetches) < 200
    assert await world.entries(task) == GIVEN_BACK


@pytest.mark.parametrize("error", [FetchError("reset"), ResultGone("404"), ResultChanged("again")])
async def test_a_result_that_can_not_be_had_fails_at_the_deadline(
    world: World, error: FetchError
) -> None:
    world.provider.on_poll += [Done("the link", cost_ticks=4)] * 1000
    world.provider.on_fetch += [error] * 1000
    task = await world.live(await world.submit())
    assert task.failure is not None and task.failure.code is TaskError.UPSTREAM_UNAVAILABLE
    assert await world.entries(task) == GIVEN_BACK
    settlement = await world.settlement(task)
    assert settlement is not None and settlement.upstream_cost_ticks == 4
    assert len(world.provider.jobs) == 1


@pytest.mark.parametrize(
    "fetch",
    [
        Fetch(film=b"<html>504</html>" * 100),
        Fetch(film=b""),
        Fetch(film=bytes(50_000), says_total=False),
    ],
)
async def test_what_is_no_video_three_times_fails_the_task(world: World, fetch: Fetch) -> None:
    world.provider.on_fetch += [fetch] * 3
    task = await world.live(await world.submit())
    assert task.failure is not None and task.failure.code is TaskError.UPSTREAM_UNAVAILABLE
    assert len(world.provider.fetches) == 3
    assert await world.entries(task) == GIVEN_BACK
    assert [key for key, _ in await world.gateway.media.keys("tmp") if task.id in key] == []


async def test_what_is_no_video_once_may_be_one_the_next_time(world: World) -> None:
    world.provider.on_fetch += [Fetch(film=b"<html>"), Fetch(film=b"<html>")]
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED


async def test_a_film_that_is_cut_short_without_a_word_is_noticed(
    world: World, film: bytes
) -> None:
    world.provider.on_fetch.append(Fetch(film=film[:-20_000], says_total=False))
    task = await world.live(await world.submit())
    assert task.result is not None and task.result.bytes == len(film)


@pytest.mark.parametrize("says_total", [True, False])
async def test_a_result_over_the_limit_is_not_kept(
    world: World, film: bytes, says_total: bool
) -> None:
    with_policy(world, result_bytes_max=len(film) - 1)
    world.provider.on_fetch += [Fetch(says_total=says_total)] * 3
    task = await world.live(await world.submit())
    assert task.failure is not None and task.failure.code is TaskError.UPSTREAM_UNAVAILABLE
    assert [key for key, _ in await world.gateway.media.keys("") if task.id in key] == []


async def test_a_result_of_just_the_limit_is(world: World, film: bytes) -> None:
    with_policy(world, result_bytes_max=len(film))
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED


# ---- what upstreams may say -----------------------------------------------------------------


@pytest.mark.parametrize("message", ["\ud800 half a pair", "NUL \0", "x" * 100_000, ""])
async def test_no_message_of_an_upstream_keeps_a_task_from_its_end(
    world: World, message: str
) -> None:
    world.provider.on_poll.append(Failed(Verdict.FAILED, message))
    task = await world.live(await world.submit())
    assert task.state is State.FAILED
    assert task.failure is not None and len(task.failure.message) <= 1_000
    assert await world.entries(task) == GIVEN_BACK
