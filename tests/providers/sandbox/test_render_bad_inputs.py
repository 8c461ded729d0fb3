"""Given files that are not what they should be: one clear refusal each, and no film."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from reelgate.domain.model import Operation
from reelgate.providers.sandbox.render import render
from reelgate.providers.sandbox.scene import BadInput, Scene
from tests.support.clips import make_clip, make_image, make_sound


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def bomb(path: Path, side: int) -> Path:
    """A PNG of a few kilobytes that unfolds to side by side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side // 64))
    return written(
        path,
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""),
    )


BAD_IMAGES: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "nothing.png",
    "text": lambda folder: written(folder / "a.png", b"hello"),
    "empty": lambda folder: written(folder / "a.jpg", b""),
    "gif": lambda folder: make_image(folder / "a.gif", (1, 2, 3), (64, 64)),
    "cut jpeg": lambda folder: cut(make_image(folder / "a.jpg", (9, 9, 9), (640, 480)), 0.7),
    "cut png": lambda folder: cut(make_image(folder / "a.png", (9, 9, 9), (640, 480)), 0.7),
    "cut webp": lambda folder: cut(make_image(folder / "a.webp", (9, 9, 9), (640, 480)), 0.7),
    "big": lambda folder: bomb(folder / "a.png", 8_000),
    "bomb": lambda folder: bomb(folder / "a.png", 12_000),
    "great bomb": lambda folder: bomb(folder / "a.png", 60_000),
    "a video": lambda folder: make_clip(folder / "a.mp4", frames=2),
}

BAD_VIDEOS: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "nothing.mp4",
    "text": lambda folder: written(folder / "a.mp4", b"hello"),
    "empty": lambda folder: written(folder / "a.mp4", b""),
    "an image": lambda folder: make_image(folder / "a.png", (1, 2, 3), (64, 64)),
    "sound only": lambda folder: make_sound(folder / "a.mp4"),
    "cut": lambda folder: cut(make_clip(folder / "a.mp4", size=(640, 480)), 0.6),
    "index cut off": lambda folder: cut(make_clip(folder / "a.mp4", movflags=""), 0.9),
    "playlist": lambda folder: written(
        folder / "a.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    ),
    "concat": lambda folder: written(folder / "a.mp4", b"ffconcat version 1.0\nfile b.mp4\n"),
    "tiny": lambda folder: make_clip(folder / "a.mp4", size=(16, 16)),
    "oblong": lambda folder: make_clip(folder / "a.mp4", size=(640, 64), frames=2),
    "other codec": lambda folder: make_clip(folder / "a.mp4", codec="mpeg4"),
    "long": lambda folder: make_clip(folder / "a.mp4", fps=1, frames=61, size=(64, 64)),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
@pytest.mark.parametrize("operation", [Operation.IMAGE_TO_VIDEO, Operation.REFERENCE_TO_VIDEO])
def test_bad_images_are_refused(kind: str, operation: Operation, tmp_path: Path) -> None:
    image = BAD_IMAGES[kind](tmp_path)
    with pytest.raises(BadInput, match="image") as refusal:
        render(Scene(operation, "", 1, 640, 480, (image,)), tmp_path / "film.mp4")
    assert str(tmp_path) not in str(refusal.value)
    assert ("pixels" in str(refusal.value)) == ("big" in kind or "bomb" in kind)
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("kind", BAD_VIDEOS)
@pytest.mark.parametrize("operation", [Operation.EDIT_VIDEO, Operation.VIDEO_EXTEND])
def test_bad_videos_are_refused(kind: str, operation: Operation, tmp_path: Path) -> None:
    video = BAD_VIDEOS[kind](tmp_path)
    with pytest.raises(BadInput) as refusal:
        render(Scene(operation, "", 2, video=video), tmp_path / "film.mp4")
    assert str(tmp_path) not in str(refusal.value)
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize(
    ("operation", "count"),
    [
        (Operation.IMAGE_TO_VIDEO, 0),
        (Operation.IMAGE_TO_VIDEO, 2),
        (Operation.REFERENCE_TO_VIDEO, 0),
        (Operation.REFERENCE_TO_VIDEO, 17),
    ],
)
def test_too_few_or_many_images_are_refused(
    operation: Operation, count: int, tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(image)
    with pytest.raises(BadInput, match="image"):
        render(Scene(operation, "", 1, 640, 480, (image,) * count), tmp_path / "film.mp4")


def test_an_edit_without_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="video"):
        render(Scene(Operation.EDIT_VIDEO, "", None), tmp_path / "film.mp4")
