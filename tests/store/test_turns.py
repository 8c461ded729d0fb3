"""Turns: who may share a COMMIT, and that one lock is in one thread's hands."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reelgate.store.turns import Job, Turns


@pytest.fixture
def turns() -> Turns:
    return Turns(group_max=3)


def job(locks: str = "", *, writes: bool = True) -> Job:
    loop = asyncio.get_running_loop()
    return Job(lambda _: locks, writes, locks, loop, loop.create_future())


async def test_writes_go_together_up_to_the_limit_and_reads_alone(turns: Turns) -> None:
    waiting = [job(), job("a"), job(), job(), job(writes=False), job(writes=False), job()]
    for one in waiting:
        turns.put(one)
    assert turns.waiting >= len(waiting)
    groups = turns.groups()
    assert [len(next(groups)) for _ in range(5)] == [3, 1, 1, 1, 1]


async def test_a_line_is_in_one_threads_hands_at_a_time(turns: Turns) -> None:
    first, second = turns.groups(), turns.groups()
    turns.put(job("a"))
    assert [one.locks for one in next(first)] == ["a"]
    turns.put(job("a"))
    turns.put(job("b"))
    turns.put(job("a"))
    assert [one.locks for one in next(second)] == ["b"]
    assert [one.locks for one in next(first)] == ["a", "a"]
    turns.put(job("b"))
    turns.put(job())
    # The one that takes the unlocked job still has "a"; "b" waits for the other.
    assert [one.locks for one in next(first)] == [""]
    assert [one.locks for one in next(second)] == ["b"]
    turns.close(2)
    assert list(second) == list(first) == []


async def test_a_group_takes_its_locks_in_order(turns: Turns) -> None:
    for locks in ("c", "a", "b"):
        turns.put(job(locks))
    groups = turns.groups()
    assert [one.locks for one in next(groups)] == ["a", "b", "c"]
    turns.close(1)
    assert list(groups) == []


async def test_nobody_is_left_behind_when_it_closes() -> None:
    turns, done, guard = Turns(group_max=2), list[str](), threading.Lock()
    jobs = [job(str(n % 3)) for n in range(60)]

    def work() -> None:
        for group in turns.groups():
            with guard:
                done.extend(one.locks for one in group)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(work)
        for one in jobs:
            turns.put(one)
        turns.close(4)
    assert sorted(done) == sorted(one.locks for one in jobs)
    assert turns.waiting == 0
