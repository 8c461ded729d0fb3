"""What time does to bytes and rows, and in which order, so that no crash leaves a fault."""

from __future__ import annotations

import os
from functools import partial

import pytest

from reelgate.domain.task import State, Task
from reelgate.flows import deliver, pictures, sweep
from reelgate.flows.pictures import PICTURES
from reelgate.store import tasks
from tests.support.world import World, picture, with_policy

DAY_MS = 86_400_000


def make_old(world: World, key: str) -> str:
    """Let a file be a month old."""
    path = world.gateway.media.path(key)
    past = path.stat().st_mtime - 30 * 86_400
    os.utime(path, (past, past))
    return key


async def completed(world: World) -> Task:
    """A finished task whose film is a month old."""
    task = await world.live(await world.submit())
    assert task.result is not None
    make_old(world, task.result.key)
    return task


async def has(world: World, key: str) -> bool:
    return await world.gateway.media.size(key) is not None


async def test_results_go_when_their_time_is_over_and_not_before(world: World) -> None:
    task = await completed(world)
    assert task.result is not None and task.expires_at_ms is not None
    thumbnail = pictures.key_of(task.result.key, PICTURES["thumbnail"])
    await world.gateway.media.put(thumbnail, b"picture")
    world.clock.advance_ms(task.expires_at_ms - world.clock.now_ms() - 1)
    await sweep.purge_expired(world.gateway)
    assert await has(world, task.result.key)
    world.clock.advance_ms(1)
    assert await sweep.purge_expired(world.gateway) >= 1
    assert not await has(world, task.result.key)
    assert not await has(world, thumbnail)
    assert (await world.look(task)).purged_at_ms == world.clock.now_ms()


async def test_results_that_are_kept_for_good_stay(world: World) -> None:
    with_policy(world, result_ttl_ms=0)
    task = await completed(world)
    assert task.result is not None and task.expires_at_ms is None
    world.clock.advance_ms(10_000 * DAY_MS)
    await sweep.purge_expired(world.gateway)
    assert await has(world, task.result.key)


async def test_the_janitor_keeps_what_somebody_needs(world: World, png: bytes) -> None:
    done = await completed(world)
    assert done.result is not None
    thumbnail = pictures.key_of(done.result.key, PICTURES["thumbnail"])
    await world.gateway.media.put(thumbnail, b"picture")
    live = await world.submit(image=picture(png))
    (image,) = live.order.images
    part = f"{live.id}.1.mp4"
    world.gateway.media.part_path(part).write_bytes(b"half a film")
    needed = [done.result.key, thumbnail, image.key or "", f"tmp/{part}"]
    for key in needed:
        make_old(world, key)
    await sweep.remove_orphans(world.gateway)
    assert [key for key in needed if not await has(world, key)] == []


async def test_the_janitor_removes_what_nobody_needs(world: World) -> None:
    done = await completed(world)
    assert done.result is not None
    stem = done.result.key.removesuffix(f".{done.epoch}.mp4")
    other = await world.submit()
    useless = [
        f"{stem}.99.mp4",  # of a worker that was overtaken
        f"{stem}.99.webp",
        f"inputs/ab/{done.id}.0",  # its task has ended
        f"results/ab/{other.id.replace('task_', 'task_2')[:37]}.1.mp4",  # there is no such task
        "results/ab/stranger.mp4",
        "tmp/inputs_ab_left.0123",
    ]
    for key in useless:
        await world.gateway.media.put(key, b"x")
    fresh = "results/ab/fresh.mp4"
    await world.gateway.media.put(fresh, b"x")
    for key in useless:
        make_old(world, key)
    assert await sweep.remove_orphans(world.gateway) >= len(useless)
    assert [key for key in useless if await has(world, key)] == []
    assert await has(world, fresh)
    assert await has(world, done.result.key)
    await world.gateway.media.delete(fresh)


@pytest.mark.parametrize("kept_for_good", [False, True])
async def test_what_a_crash_left_of_a_deletion_is_removed(
    world: World, kept_for_good: bool
) -> None:
    """The task was hidden, its bytes were not removed any more."""
    if kept_for_good:
        with_policy(world, result_ttl_ms=0)
    task = await completed(world)
    assert task.result is not None
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(partial(tasks.mark_deleted, task_id=task.id, now_ms=now_ms))
    assert await world.broken() == []
    await sweep.remove_orphans(world.gateway)
    assert not await has(world, task.result.key)


async def test_what_a_crash_left_of_a_purge_is_removed(world: World) -> None:
    task = await completed(world)
    assert task.result is not None
    now_ms = world.clock.now_ms()
    await world.gateway.db.write(partial(tasks.mark_purged, task_id=task.id, now_ms=now_ms))
    assert await world.broken() == []
    await sweep.remove_orphans(world.gateway)
    assert not await has(world, task.result.key)


async def test_a_film_that_is_missing_or_changed_is_found(world: World) -> None:
    task = await completed(world)
    assert task.result is not None
    path = world.gateway.media.path(task.result.key)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"!")
    assert [line for line in await world.broken() if task.id in line and "not those" in line]
    path.write_bytes(data[:-1])
    assert [line for line in await world.broken() if task.id in line and "bytes" in line]
    path.unlink()
    assert [line for line in await world.broken() if task.id in line and "missing" in line]
    path.write_bytes(data)
    assert await world.broken() == []


async def test_old_bytes_that_belong_to_nobody_are_found(world: World) -> None:
    await world.gateway.media.put("results/ab/nobody.1.mp4", b"x")
    assert await world.broken() == []
    make_old(world, "results/ab/nobody.1.mp4")
    assert await world.broken() == ["results/ab/nobody.1.mp4 belongs to no task"]
    await world.gateway.media.delete("results/ab/nobody.1.mp4")


async def test_deleting_hides_the_task_and_removes_the_bytes(world: World) -> None:
    task = await completed(world)
    assert task.result is not None
    await deliver.delete(world.gateway, task.account_id, task.id)
    assert not await has(world, task.result.key)
    now = await world.look(task)
    assert now.deleted_at_ms is not None and now.purged_at_ms is not None
    assert now.state is State.COMPLETED
    assert await world.entries(task) == [("hold", 100_000), ("capture", 100_000)]


async def test_idempotency_keys_are_kept_for_a_week(world: World) -> None:
    first = await world.submitted(world.draft(), idempotency_key="k")
    world.clock.advance_ms(7 * DAY_MS)
    await sweep.forget_idempotency_keys(world.gateway)
    again = await world.submitted(world.draft(), idempotency_key="k")
    assert (again.task.id, again.replayed) == (first.task.id, True)
    world.clock.advance_ms(1)
    await sweep.forget_idempotency_keys(world.gateway)
    anew = await world.submitted(world.draft(), idempotency_key="k")
    assert (anew.task.id != first.task.id, anew.replayed) == (True, False)
