"""A disk that is small enough to fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 65_536


def may_mount() -> bool:
    """Whether this user could make a small disk at all."""
    return os.geteuid() == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a few MiB at a new folder for the time of the block; False when that can't be done."""
    folder.mkdir()
    options = f"size={SIZE_BYTES}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = may_mount() and not subprocess.run(mount, check=False, capture_output=True).returncode
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room there is; the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = PIECE_BYTES
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    return ballast
