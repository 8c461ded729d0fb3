"""Bytes on the operator's own disk: written beside, fsynced, renamed into place.

A key is a relative path such as `results/ab/task_….mp4`. A file under its key is always whole:
what a crash leaves behind is under `tmp/` and swept away by age.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import StorageFull, StoreError

_CHUNK_BYTES = 256 * 1024
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull("the disk of the media store is full") from error
        raise StoreError(f"the media store failed: {error.strerror}") from error


class DiskStore:
    """A media store in one folder. Raises StorageFull and StoreError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the bytes of a key lie."""
        return self._root / key

    def part_path(self, name: str) -> Path:
        """A file for bytes on their way in; the same name again finds what is there already."""
        return self._tmp / name

    async def forget_parts(self, prefix: str) -> None:
        """Remove the parts whose names begin so."""

        def forget() -> None:
            with _disk_errors():
                for part in self._tmp.glob(f"{prefix}*"):
                    part.unlink(missing_ok=True)

        await asyncio.to_thread(forget)

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, durably."""

        def write() -> None:
            # A name of its own: the same key may be put twice at once.
            part = self._tmp / f"{key.replace('/', '_')}.{secrets.token_hex(8)}"
            try:
                with _disk_errors():
                    part.write_bytes(data)
                self._publish(part, key, "input")
            except StoreError:
                part.unlink(missing_ok=True)
                raise

        await asyncio.to_thread(write)

    async def publish(self, part: Path, key: str) -> None:
        """Make the finished `part` durable under `key`."""
        await asyncio.to_thread(self._publish, part, key, "collect")

    async def read(self, key: str) -> bytes:
        """All bytes of a key. Raises StoreError when there are none."""

        def read_all() -> bytes:
            with _disk_errors():
                return self.path(key).read_bytes()

        return await asyncio.to_thread(read_all)

    async def size(self, key: str) -> int | None:
        """Length in bytes; None when the key has none."""

        def stat() -> int | None:
            with _disk_errors(), contextlib.suppress(FileNotFoundError):
                return self.path(key).stat().st_size
            return None

        return await asyncio.to_thread(stat)

    async def stream(self, key: str, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes of a key from `start`, in chunks."""
        with _disk_errors():
            file = await asyncio.to_thread(self.path(key).open, "rb")
        try:
            await asyncio.to_thread(file.seek, start)
            while length > 0:
                chunk = await asyncio.to_thread(file.read, min(_CHUNK_BYTES, length))
                if not chunk:
                    raise StoreError(f"{key} is shorter than it was")
                length -= len(chunk)
                yield chunk
        finally:
            file.close()

    async def delete(self, key: str) -> bool:
        """Remove a key's bytes; False when there were none."""

        def unlink() -> bool:
            with _disk_errors(), contextlib.suppress(FileNotFoundError):
                self.path(key).unlink()
                return True
            return False

        return await asyncio.to_thread(unlink)

    async def keys(self, prefix: str) -> list[tuple[str, int]]:
        """(key, age in ms) of everything under a prefix, `tmp` included."""

        def walk() -> list[tuple[str, int]]:
            with _disk_errors():
                return list(self._walk(prefix))

        return await asyncio.to_thread(walk)

    async def room_bytes(self) -> int:
        """Free bytes on the disk."""
        return (await asyncio.to_thread(shutil.disk_usage, self._root)).free

    async def check(self) -> str | None:
        """None when a byte can be written and read back, else what is wrong."""
        try:
            await self.put("tmp/probe", b"reelgate")
        except StoreError as error:
            return str(error)
        return None

    def _walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        probe = self._tmp / "clock"
        probe.touch()
        now_ns = probe.stat().st_mtime_ns
        for folder, _, names in os.walk(self._root / prefix):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    age_ms = (now_ns - path.stat().st_mtime_ns) // 1_000_000
                    yield str(path.relative_to(self._root)), age_ms

    def _publish(self, part: Path, key: str, label: str) -> None:
        target = self.path(key)
        with _disk_errors():
            self._make_folder(target.parent)
            with part.open("rb+") as file:
                _fsync(file)
            crash_point(f"{label}.before_rename")
            part.replace(target)
            _fsync_folder(target.parent)
            crash_point(f"{label}.after_rename")

    def _make_folder(self, folder: Path) -> None:
        """A folder whose own name outlives a power cut, too."""
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            _fsync_folder(folder.parent)


def _fsync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
