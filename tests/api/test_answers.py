"""What polls are answered from memory, and when they must not be."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from reelgate.api import answers as module
from reelgate.api.answers import Answers
from reelgate.domain.task import State
from reelgate.store import tasks
from tests.support.world import World


@pytest.fixture
def answers(world: World) -> Answers[str]:
    return Answers(world.gateway.db)


async def test_the_same_answer_until_the_task_changes(world: World, answers: Answers[str]) -> None:
    account_id, task = world.caller.account_id, await world.submit()
    assert await answers.unchanged(account_id, task.id) is None
    answers.keep(task, "queued")
    assert await answers.unchanged(account_id, task.id) == "queued"
    running = await world.live(task, State.RUNNING)
    assert await answers.unchanged(account_id, task.id) is None
    answers.keep(running, "running")
    assert await answers.unchanged(account_id, task.id) == "running"
    await world.gateway.db.write(partial(tasks.note_change, task=running, progress=40))
    assert await answers.unchanged(account_id, task.id) is None


async def test_nobody_else_is_told(world: World, answers: Answers[str]) -> None:
    task = await world.submit()
    answers.keep(task, "queued")
    assert await answers.unchanged("acct_other", task.id) is None


async def test_what_has_ended_is_not_kept(world: World, answers: Answers[str]) -> None:
    task = await world.submit()
    answers.keep(task, "queued")
    answers.keep(await world.live(task), "completed")
    assert await answers.unchanged(world.caller.account_id, task.id) is None


async def test_memory_has_an_end(
    world: World, answers: Answers[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ENTRIES_MAX", 3)
    made = await asyncio.gather(*(world.submit() for _ in range(5)))
    for task in made:
        answers.keep(task, task.id)
    account_id = world.caller.account_id
    kept = [await answers.unchanged(account_id, task.id) for task in made]
    assert kept == [None, None, *(task.id for task in made[2:])]
