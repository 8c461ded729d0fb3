"""Bytes on disk: whole or not there, synced in the right order, and gone when they should be."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from reelgate.domain.errors import StorageFull, StoreError
from reelgate.media.disk import DiskStore
from tests.support.disks import fill

KEY = "inputs/ab/task_x.0"


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "media")


async def bytes_of(store: DiskStore, key: str, start: int, length: int) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key, start, length)])


async def keys(store: DiskStore, prefix: str = "") -> set[str]:
    return {key for key, _ in await store.keys(prefix)} - {"tmp/clock"}


async def test_what_is_put_can_be_read_in_all_ways(store: DiskStore) -> None:
    data = os.urandom(600_000)
    await store.put(KEY, data)
    assert await store.read(KEY) == data
    assert await store.size(KEY) == len(data)
    assert await bytes_of(store, KEY, 300_000, 200_000) == data[300_000:500_000]
    assert await keys(store) == {KEY}
    assert await store.delete(KEY)
    assert not await store.delete(KEY)
    assert await store.size(KEY) is None
    with pytest.raises(StoreError):
        await store.read(KEY)


async def test_putting_again_replaces_the_whole(store: DiskStore) -> None:
    await store.put(KEY, b"long" * 1000)
    await store.put(KEY, b"short")
    assert await store.read(KEY) == b"short"


async def test_putting_one_key_many_times_at_once_leaves_one_whole(store: DiskStore) -> None:
    versions = [bytes([n]) * 100_000 for n in range(20)]
    await asyncio.gather(*(store.put(KEY, version) for version in versions))
    assert await store.read(KEY) in versions
    assert await keys(store) == {KEY}


async def test_many_probes_at_once_disturb_nobody(store: DiskStore) -> None:
    assert set(await asyncio.gather(*(store.check() for _ in range(20)))) == {None}


async def test_a_file_that_shrank_under_a_reader_is_trouble_not_silence(store: DiskStore) -> None:
    await store.put(KEY, b"x" * 1000)
    with pytest.raises(StoreError):
        await bytes_of(store, KEY, 500, 501)


async def test_parts_are_forgotten_by_prefix(store: DiskStore) -> None:
    for name in ("task_a.1.mp4", "task_a.2.mp4", "task_ab.1.mp4"):
        store.part_path(name).write_bytes(b"x")
    await store.forget_parts("task_a.")
    assert await keys(store) == {"tmp/task_ab.1.mp4"}


@pytest.mark.parametrize("way", ["put", "publish"])
async def test_nothing_is_under_its_name_before_it_is_on_disk(
    store: DiskStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """First the bytes are synced, then renamed, then the folder is synced, and new folders too."""
    root, synced = tmp_path / "media", list[tuple[str, bool]]()
    sync = os.fsync

    def noting(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((str(path.relative_to(root)), (root / KEY).exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    if way == "put":
        await store.put(KEY, b"data")
    else:
        part = store.part_path("part")
        part.write_bytes(b"data")
        await store.publish(part, KEY)
    bytes_synced = [n for n, (path, _) in enumerate(synced) if path.startswith("tmp/")]
    assert [synced[n][1] for n in bytes_synced] == [False]
    assert synced[-1] == ("inputs/ab", True)
    assert {path for path, _ in synced} >= {".", "inputs"}

    synced.clear()
    await store.put("inputs/ab/another", b"data")
    assert [path for path, _ in synced if not path.startswith("tmp/")] == ["inputs/ab"]


async def test_a_full_disk_is_told_leaves_nothing_and_is_got_over(
    small_disk_folder: Path,
) -> None:
    store = DiskStore(small_disk_folder)
    await store.put("inputs/ab/kept", b"x" * 1000)
    ballast = fill(small_disk_folder)
    for _ in range(3):
        with pytest.raises(StorageFull):
            await store.put(KEY, os.urandom(200_000))
    assert await store.check() is not None
    assert await keys(store) == {"inputs/ab/kept", "ballast"}
    ballast.unlink()
    await store.put(KEY, b"y" * 200_000)
    assert await store.check() is None
    assert await store.read(KEY) == b"y" * 200_000
