"""An end happens once, whoever else wants one, and gives back exactly what was held."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from reelgate.domain.errors import Code, Refusal, StoreError, TaskError
from reelgate.domain.order import SourceFacts
from reelgate.domain.quote import Bill, Line
from reelgate.domain.task import Result, State, Task
from reelgate.flows import cancel as cancelling
from reelgate.flows import sources
from reelgate.flows.settle import Ending, failed, settle
from reelgate.media.disk import DiskStore
from reelgate.providers.base import Accepted, Done, Failed, Pending, SubmitAnswer, Verdict
from reelgate.store import key_usage, ledger, tasks
from reelgate.store.database import Writer
from tests.support.world import World, picture

HELD = 100_000
RESULT = Result("results/xx/none.1.mp4", 1, "0" * 64, 2000, 854, 480, 48)


def endings() -> list[Ending]:
    """Every kind of end, several times."""
    kinds = [
        failed(TaskError.TASK_FAILED, "It failed."),
        failed(TaskError.CANCELLED, "Cancelled.", state=State.CANCELLED),
        failed(TaskError.EXPIRED, "Too late.", state=State.EXPIRED),
        Ending(State.FAILED, failed(TaskError.OUTCOME_UNKNOWN, "?").failure, loss_micro=7),
    ]
    return kinds * 16


async def test_of_64_ends_one_happens(world: World) -> None:
    task = await world.submit()
    results = await asyncio.gather(*(settle(world.gateway, task, end) for end in endings()))
    (winner,) = [result for result in results if result is not None]
    now = await world.look(task)
    assert (now.state, now.failure) == (winner.state, winner.failure)
    assert len(await world.path(task)) == 2
    kinds = [kind for kind, _ in await world.entries(task)]
    assert kinds[:2] == ["hold", "release"] and kinds.count("release") == 1
    assert await world.balance() == (100_000_000, 0)


async def test_a_task_is_charged_what_was_delivered_and_no_more(world: World) -> None:
    task = await world.live(await world.submit(), until=State.COLLECTING)
    bill = Bill((Line("output_second_480p", 1, "second", 40_000),))
    ended = await settle(world.gateway, task, Ending(State.COMPLETED, result=RESULT, bill=bill))
    assert ended is not None
    assert await world.entries(task) == [("hold", HELD), ("capture", 40_000), ("release", 60_000)]
    assert await world.balance() == (100_000_000 - 40_000, 0)
    # There never was such a film: the world would miss its bytes.
    await world.gateway.db.write(partial(tasks.mark_purged, task_id=task.id, now_ms=1))


async def test_more_than_was_held_can_not_be_taken(world: World) -> None:
    task = await world.live(await world.submit(), until=State.COLLECTING)
    bill = Bill((Line("output_second_480p", 1, "second", HELD + 1),))
    with pytest.raises(StoreError):
        await settle(world.gateway, task, Ending(State.COMPLETED, result=RESULT, bill=bill))
    assert (await world.look(task)).state is State.COLLECTING
    assert await world.entries(task) == [("hold", HELD)]


async def test_an_end_that_could_not_be_recorded_is_recorded_later_and_nobody_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = settle, 3

    async def sometimes(*args: object, **kwargs: object) -> Task | None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise StoreError("no room")
        return await real(*args, **kwargs)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr("reelgate.flows.drive.settle", sometimes)
    task = await world.live(await world.submit())
    assert task.state is State.COMPLETED
    assert refusals == 0
    assert (len(world.provider.polls), len(world.provider.fetches)) == (1, 1)


async def test_an_input_that_can_not_be_removed_spoils_no_end(
    world: World, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: DiskStore, key: str) -> bool:
        raise StoreError(f"{key} is stuck")

    monkeypatch.setattr(DiskStore, "delete", fail)
    done = await world.live(await world.submit(image=picture(png)))
    assert done.state is State.COMPLETED
    cancelled = await cancelling.cancel(world.gateway, await world.submit(image=picture(png)))
    assert cancelled.state is State.CANCELLED


# ---- a hold that grows while its task is being ended ----------------------------------------


async def grow(world: World, task: Task, needed_micro: int) -> Task | None:
    """What measuring a source does to a hold."""
    facts = SourceFacts(1280, 720, 9_000)
    return await world.gateway.db.write(
        partial(sources._grow, task=task, source=facts, needed_micro=needed_micro, now_ms=1)
    )


async def test_a_hold_that_has_grown_is_given_back_whole(world: World) -> None:
    """Whoever ends the task looked at it before it grew."""
    looked_at = await world.submit()
    grown = await grow(world, looked_at, 3 * HELD)
    assert grown is not None and grown.held_micro == 3 * HELD
    assert await world.balance() == (100_000_000 - 3 * HELD, 3 * HELD)
    ended = await cancelling.cancel(world.gateway, looked_at)
    assert ended.held_micro == 3 * HELD
    assert await world.balance() == (100_000_000, 0)


async def test_a_hold_grows_once_though_it_is_asked_twice(world: World) -> None:
    """After a COMMIT whose answer was lost."""
    task = await world.submit()
    first = await grow(world, task, 3 * HELD)
    again = await grow(world, task, 3 * HELD)
    assert first is not None and again is not None
    assert (again.held_micro, again.source) == (first.held_micro, first.source)
    assert await world.balance() == (100_000_000 - 3 * HELD, 3 * HELD)


async def test_a_hold_does_not_grow_after_its_task_has_ended(world: World) -> None:
    task = await world.submit()
    await cancelling.cancel(world.gateway, task)
    assert await grow(world, task, 3 * HELD) is None
    assert await world.balance() == (100_000_000, 0)


# ---- cancelling while others act ------------------------------------------------------------


async def test_cancel_and_send_at_once_come_to_one_end(world: World) -> None:
    for _ in range(10):
        task = await world.submit()
        await world.claim(task)
        cancelled, _ = await asyncio.gather(
            cancelling.cancel(world.gateway, task), world.step(task), return_exceptions=True
        )
        world.crash()
        await world.restart()
        now = await world.live(task)
        if isinstance(cancelled, Task):
            assert now.state is State.CANCELLED
        else:
            assert isinstance(cancelled, Refusal) and cancelled.code is Code.NOT_CANCELLABLE
            assert now.ended
    assert len(world.provider.jobs) <= 10


async def test_an_answer_that_comes_after_the_cancel_changes_nothing(
    world: World, png: bytes
) -> None:
    """The task is cancelled while its queued drive measures and prepares."""
    task = await world.submit(image=picture(png))
    await world.claim(task)
    await cancelling.cancel(world.gateway, task)
    assert await world.step(task) is None
    assert world.provider.jobs == []
    assert (await world.look(task)).state is State.CANCELLED


async def test_a_cancel_that_the_worker_hears_of_first_is_a_cancel(world: World) -> None:
    task = await world.live(await world.submit(), until=State.RUNNING)

    async def stopped_and_polled() -> bool:
        world.provider.on_poll.append(Failed(Verdict.CANCELLED, "It was stopped."))
        await world.step(task)
        return True

    world.provider.on_cancel.append(stopped_and_polled)
    cancelled = await cancelling.cancel(world.gateway, task)
    assert cancelled.failure is not None
    assert cancelled.failure.code is TaskError.CANCELLED
    assert await world.balance() == (100_000_000, 0)


async def test_a_film_that_is_done_before_the_upstream_stops_is_delivered(world: World) -> None:
    task = await world.live(await world.submit(), until=State.RUNNING)

    async def too_late() -> bool:
        world.provider.on_poll.append(Done("film"))
        await world.step(task)
        return True

    world.provider.on_cancel.append(too_late)
    with pytest.raises(Refusal) as refused:
        await cancelling.cancel(world.gateway, task)
    assert refused.value.code is Code.NOT_CANCELLABLE
    assert (await world.live(task)).state is State.COMPLETED


@pytest.mark.parametrize("answer", [False, TimeoutError()])
async def test_what_the_upstream_does_not_stop_goes_on(
    world: World, answer: bool | TimeoutError
) -> None:
    task = await world.live(await world.submit(), until=State.RUNNING)
    world.provider.on_cancel.append(answer)
    with pytest.raises(Refusal):
        await cancelling.cancel(world.gateway, task)
    assert (await world.live(task)).state is State.COMPLETED


async def test_what_only_another_lease_may_write_is_not_written(world: World) -> None:
    """A worker that stood still: it polls, collects and settles under an old epoch, in vain."""
    world.provider.on_poll += [Pending(50)]
    task = await world.live(await world.submit(), until=State.RUNNING)
    old = world.drives.pop(task.id)
    await world.restart()
    await world.claim(task)
    world.drives["old"] = old
    stale = replace(task, id="old")
    before = await world.look(task)
    assert await world.step(stale) is None
    assert await world.look(task) == before
    world.provider.on_poll.append(Failed(Verdict.FAILED, "No."))
    assert await world.step(stale) is None
    assert await world.look(task) == before
    world.drives.pop("old")
    assert (await world.live(task)).state is State.COMPLETED


async def test_a_job_that_is_accepted_under_an_old_lease_is_not_sent_again(world: World) -> None:
    """The worker stood still during its submit; its task is stranded by its heir."""

    async def stand_still() -> SubmitAnswer:
        await world.gateway.db.write(partial(_bury, worker_id=world.worker_id))
        return Accepted("late")

    world.provider.on_submit.append(stand_still)
    task = await world.submit()
    await world.claim(task)
    assert await world.step(task) is None
    world.crash()
    world.worker_id = "worker_heir"
    task = await world.live(task, until=State.STRANDED)
    assert (task.state, task.upstream_ref) == (State.STRANDED, None)
    assert len(world.provider.jobs) == 1


def _bury(tx: Writer, worker_id: str) -> None:
    tx.run("DELETE FROM worker WHERE id = ?", (worker_id,))
    tasks.free_leases_of(tx, worker_id)


async def test_a_key_counts_what_its_tasks_hold_and_cost(world: World) -> None:
    first = await world.submit()
    await world.live(await world.submit())

    def usage(tx: Writer) -> key_usage.Usage:
        day = key_usage.day_of(first.created_at_ms)
        return key_usage.usage(tx, world.caller.key.id, day, day)

    assert await world.gateway.db.write(usage) == key_usage.Usage(200_000, 200_000, 200_000, 1)
    await cancelling.cancel(world.gateway, first)
    assert await world.gateway.db.write(usage) == key_usage.Usage(100_000, 100_000, 100_000, 0)
    balance = await world.gateway.db.read(
        partial(ledger.balance, account_id=world.caller.account_id)
    )
    assert balance == ledger.Balance(100_000_000 - 100_000, 0)
