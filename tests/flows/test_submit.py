"""A create is whole or it is nothing: task, hold, key and uploaded bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reelgate.domain.errors import Code, Refusal, StorageFull, StoreError
from reelgate.domain.order import Draft
from reelgate.flows import accounts
from reelgate.flows.submit import Submitted
from reelgate.media.disk import DiskStore
from tests.support.world import CREDIT_MICRO, World, picture

HELD = 100_000


async def task_count(world: World) -> int:
    account_id = world.caller.account_id
    row = await world.gateway.db.read(
        lambda tx: tx.one("SELECT COUNT(*) FROM task WHERE account_id = ?", (account_id,))
    )
    assert row is not None
    return int(row[0])


async def stored(world: World) -> list[str]:
    """Keys of inputs and of parts on their way in."""
    media = world.gateway.media
    found = [key for prefix in ("inputs", "tmp") for key, _ in await media.keys(prefix)]
    return [key for key in found if key != "tmp/clock"]


def with_pictures(world: World, png: bytes) -> Draft:
    return world.draft(images=[picture(png, f"images[{n}]") for n in range(3)])


async def test_a_hundred_equal_creates_with_one_key_are_one_task(world: World, png: bytes) -> None:
    before = await stored(world)
    made = await asyncio.gather(
        *(world.submitted(with_pictures(world, png), idempotency_key="k") for _ in range(100))
    )
    assert len({one.task.id for one in made}) == 1
    assert sum(not one.replayed for one in made) == 1
    assert await task_count(world) == 1
    assert len(await stored(world)) - len(before) == 3
    await world.live(made[0].task)
    assert await stored(world) == before


async def test_retries_of_an_sdk_at_once_are_one_task(world: World) -> None:
    made = await asyncio.gather(
        *(world.submitted(world.draft(), retry_count=n % 2 + 1) for n in range(50))
    )
    assert len({one.task.id for one in made}) == 1
    assert await task_count(world) == 1


@pytest.mark.parametrize(("age_ms", "same"), [(0, True), (600_000, True), (600_001, False)])
async def test_a_retry_finds_what_is_at_most_ten_minutes_old(
    world: World, age_ms: int, same: bool
) -> None:
    first = await world.submit()
    world.clock.advance_ms(age_ms)
    again = await world.submitted(world.draft(), retry_count=1)
    assert (again.task.id == first.id) is same
    assert again.replayed is same


async def test_a_second_wish_for_the_same_is_another_task(world: World) -> None:
    first, second = await world.submit(), await world.submit()
    assert first.id != second.id


async def test_a_key_for_another_order_is_refused_and_nothing_kept(
    world: World, png: bytes
) -> None:
    await world.submitted(world.draft(), idempotency_key="k")
    before = await stored(world)
    with pytest.raises(Refusal) as refused:
        await world.submitted(with_pictures(world, png), idempotency_key="k")
    assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSED
    assert await stored(world) == before
    assert await world.balance() == (CREDIT_MICRO - HELD, HELD)


async def test_what_can_not_be_paid_leaves_nothing(world: World, png: bytes) -> None:
    await accounts.adjust(
        world.gateway, world.caller.account_id, -(CREDIT_MICRO - 500_000), note="leave 0.50"
    )
    before, balance = await stored(world), await world.balance()
    with pytest.raises(Refusal) as refused:
        await world.submitted(
            world.draft(seconds=15, size="720p", image=picture(png)), idempotency_key="k"
        )
    assert refused.value.code is Code.INSUFFICIENT_BALANCE
    assert (await stored(world), await world.balance()) == (before, balance)
    # The key is not used up.
    assert not (await world.submitted(world.draft(seconds=1), idempotency_key="k")).replayed


class FullAfter(DiskStore):
    """A real store whose disk is full after some puts."""

    left = 0

    async def put(self, key: str, data: bytes) -> None:
        if self.left == 0:
            raise StorageFull("full")
        self.left -= 1
        await super().put(key, data)


@pytest.mark.parametrize("puts", [0, 1, 2])
async def test_a_disk_that_is_full_half_way_keeps_nothing_of_a_create(
    world: World, png: bytes, monkeypatch: pytest.MonkeyPatch, puts: int
) -> None:
    before = await stored(world)
    monkeypatch.setattr(FullAfter, "left", puts)
    monkeypatch.setattr(world.gateway.media, "__class__", FullAfter)
    with pytest.raises(StorageFull):
        await world.submitted(with_pictures(world, png))
    assert await stored(world) == before
    assert await world.balance() == (CREDIT_MICRO, 0)
    assert await task_count(world) == 0


@pytest.mark.parametrize("error", [StorageFull("full"), StoreError("broken")])
async def test_a_database_that_takes_nothing_keeps_no_bytes(
    world: World, png: bytes, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    before = await stored(world)

    async def refuse(*_: Any, **__: Any) -> Submitted:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(world.gateway.db, "write", refuse)
        with pytest.raises(type(error)):
            await world.submitted(with_pictures(world, png))
    assert await stored(world) == before
    assert await world.balance() == (CREDIT_MICRO, 0)


async def test_a_full_disk_has_no_room_to_look_at_a_clip(
    world: World, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a 500: the caller may come back when there is room."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(StorageFull):
        await world.submitted(world.draft(seconds=4, video=picture(film, "video")))
    assert await world.balance() == (CREDIT_MICRO, 0)
