"""Stills of films: the right moment, the right way up, small enough."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reelgate.media.facts import BadMedia
from reelgate.media.thumbnails import spritesheet, thumbnail
from tests.support.clips import (
    clip_picture,
    difference,
    make_clip,
    make_sound,
    turn_upright,
)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


@pytest.mark.parametrize(("frames", "moment"), [(24, 12), (96, 24), (2, 1), (1, 0)])
def test_a_thumbnail_is_a_frame_one_second_in_or_halfway(
    frames: int, moment: int, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=frames, size=(320, 240))
    image = opened(thumbnail(clip))
    assert (image.format, image.size) == ("WEBP", (320, 240))
    assert difference(np.asarray(image), clip_picture(moment / frames, (320, 240))) < 5


@pytest.mark.parametrize(
    ("size", "small"), [((1280, 720), (640, 360)), ((720, 1280), (360, 640)), ((64, 48), (64, 48))]
)
def test_a_thumbnail_is_small(
    size: tuple[int, int], small: tuple[int, int], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=3, size=size)
    assert opened(thumbnail(clip)).size == small


def test_stills_are_upright(tmp_path: Path) -> None:
    clip = turn_upright(make_clip(tmp_path / "a.mp4", frames=6, size=(320, 240)))
    image = np.asarray(opened(thumbnail(clip)))
    assert image.shape == (320, 240, 3)
    assert difference(image[40:120, :80], np.full_like(image[40:120, :80], (200, 40, 40))) < 8
    width, height = opened(spritesheet(clip)).size
    assert height > width


def test_a_spritesheet_shows_25_frames_in_order(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=50, size=(160, 120))
    image = opened(spritesheet(clip))
    assert (image.format, image.size) == ("JPEG", (800, 600))
    sheet = np.asarray(image)
    for tile in range(25):
        row, column = divmod(tile, 5)
        shown = sheet[row * 120 : row * 120 + 120, column * 160 : column * 160 + 160]
        assert difference(shown, clip_picture(tile * 2 / 50, (160, 120))) < 8


def test_a_spritesheet_of_one_frame_repeats_it(tmp_path: Path) -> None:
    sheet = np.asarray(opened(spritesheet(make_clip(tmp_path / "a.mp4", frames=1))))
    assert difference(sheet[:120, :160], sheet[-120:, -160:]) < 3


def test_tiles_are_small(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=2, size=(1280, 720))
    assert opened(spritesheet(clip)).size == (1280, 720)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_stills_of_every_codec(codec: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=8, codec=codec)
    assert difference(np.asarray(opened(thumbnail(clip))), clip_picture(0.5, (160, 120))) < 8


def test_what_has_no_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    for path in tmp_path / "text.mp4", make_sound(tmp_path / "a.mp4"):
        for still in thumbnail, spritesheet:
            with pytest.raises(BadMedia):
                still(path)


def test_frames_too_big_to_hold_are_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=1, size=(4096, 2320), tone_hz=None)
    with pytest.raises(BadMedia):
        thumbnail(clip)


def test_nonsense_for_frames_is_refused(tmp_path: Path) -> None:
    """The structure is sound and nothing in it can be decoded."""
    clip = make_clip(tmp_path / "a.mp4", frames=3, tone_hz=None)
    data = bytearray(clip.read_bytes())
    at = data.index(b"mdat") + 4
    data[at:] = b"\xff" * (len(data) - at)
    clip.write_bytes(data)
    with pytest.raises(BadMedia):
        thumbnail(clip)
