"""Films that were made before: the same scene is rendered once.

A film is kept under a hash of all that it is made of, the bytes of its inputs included, and
handed out as a hard link where the file system has them. Old ones go when there are too many.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import reelgate
from reelgate.providers.sandbox.scene import Scene

CACHE_BYTES_MAX = 512 * 1024 * 1024
ROOM_SHARE = 8  # one in so many of them is free after making room


class Renderer(Protocol):
    """Makes films, somewhere where that does not hold up the event loop."""

    async def render(
        self, scene: Scene, out: Path, on_progress: Callable[[int], None] | None = None
    ) -> None: ...

    async def close(self) -> None: ...


class Films:
    """Renders scenes, or finds them rendered."""

    def __init__(self, folder: Path, renderer: Renderer, bytes_max: int = CACHE_BYTES_MAX) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._renderer = renderer
        self._bytes_max = bytes_max
        self._room = 0  # bytes that may be added before the folder is looked through
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def make(
        self, scene: Scene, work: Path, out: Path, on_progress: Callable[[int], None]
    ) -> None:
        """Put the film of `scene` at `out`, whole and safe; `work` is an empty folder for it.

        Raises what the renderer raises, and OSError.
        """
        key = await asyncio.to_thread(_key, scene)
        kept = self._folder / f"{key}.mp4"
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            if await asyncio.to_thread(_place, kept, work, out):
                return
            fresh = work / "film.mp4"
            await self._renderer.render(scene, fresh, on_progress)
            await asyncio.to_thread(self._keep, fresh, work, out, kept)

    def _keep(self, fresh: Path, work: Path, out: Path, kept: Path) -> None:
        _sync(fresh)
        _place(fresh, work, out)
        self._room -= fresh.stat().st_size
        fresh.replace(kept)
        if self._room < 0:
            self._make_room()

    def _make_room(self) -> None:
        """Forget films, oldest first, until there is some room again."""
        films = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process may be making room too
                films.append((path.stat(), path))
        self._room = self._bytes_max
        for stat, path in sorted(films, key=lambda film: film[0].st_mtime_ns, reverse=True):
            if self._room - stat.st_size < self._bytes_max // ROOM_SHARE:
                path.unlink(missing_ok=True)
            else:
                self._room -= stat.st_size


def _place(film: Path, work: Path, out: Path) -> bool:
    """A link to, or copy of `film` at `out`; False when there is no such film."""
    linked = work / "linked.mp4"
    try:
        os.link(film, linked)
    except FileNotFoundError:
        return False
    except OSError:  # no links here, across here, or too many to this file
        try:
            shutil.copyfile(film, linked)
        except FileNotFoundError:
            return False
        _sync(linked)
    linked.replace(out)
    return True


def _key(scene: Scene) -> str:
    """A hash of everything that decides how a film looks, this version's taste included."""
    parts = [
        reelgate.__version__,
        scene.operation,
        scene.prompt,
        scene.seconds,
        scene.width,
        scene.height,
        [_digest(image) for image in scene.images],
        _digest(scene.video) if scene.video else None,
    ]
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
