"""Films from given pictures and clips: what was given has to be seen, and kept to."""

from __future__ import annotations

import colorsys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from reelgate.domain.model import Operation
from reelgate.providers.sandbox.effects import EFFECTS, GRADE, chosen
from reelgate.providers.sandbox.render import render
from reelgate.providers.sandbox.scene import Scene
from tests.support.clips import (
    BLUE,
    RED,
    Picture,
    clip_picture,
    decoded,
    difference,
    loudness,
    make_clip,
    make_image,
    turn_upright,
)


def shot(scene: Scene, folder: Path) -> Path:
    out = folder / "film.mp4"
    render(scene, out)
    return out


def edited(source: Path, prompt: str, folder: Path) -> list[Picture]:
    return decoded(shot(Scene(Operation.EDIT_VIDEO, prompt, None, video=source), folder))


def clear(picture: Picture) -> Picture:
    """The part of a picture that nothing is written over."""
    return picture[picture.shape[0] // 5 : picture.shape[0] * 2 // 3]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "source.mp4", frames=36, size=(320, 240))


# Image to video


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_given_image_is_filmed(suffix: str, tmp_path: Path) -> None:
    picture = clip_picture(0.4, (800, 600))
    given = tmp_path / f"given.{suffix}"
    Image.fromarray(picture).save(given, quality=95)
    path = shot(Scene(Operation.IMAGE_TO_VIDEO, "go", 2, 640, 480, (given,)), tmp_path)
    frames = decoded(path)
    assert len(frames) == 48
    shown = np.asarray(Image.fromarray(picture).resize((640, 480)))
    assert difference(clear(frames[0]), clear(shown)) < 8
    assert difference(clear(frames[-1]), clear(frames[0])) > 8


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (2000, 100), (33, 1001)])
def test_an_image_of_any_size_fills_the_frame(size: tuple[int, int], tmp_path: Path) -> None:
    given = make_image(tmp_path / "given.png", (90, 160, 60), size)
    frames = decoded(shot(Scene(Operation.IMAGE_TO_VIDEO, "", 1, 480, 640, (given,)), tmp_path))
    for frame in frames[0], frames[-1]:
        assert difference(clear(frame), np.full_like(clear(frame), (90, 160, 60))) < 4


def test_an_image_filmed_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(clip_picture(0.0, (600, 800)))  # red left, blue right
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: red comes to the top
    image.save(tmp_path / "given.jpg", exif=exif, quality=95)
    scene = Scene(Operation.IMAGE_TO_VIDEO, "", 1, 640, 480, (tmp_path / "given.jpg",))
    first = decoded(shot(scene, tmp_path))[0]
    assert first[100, 320, 0] > first[100, 320, 2] + 80
    assert first[350, 320, 2] > first[350, 320, 0] + 80


def test_transparent_images_are_shown_on_a_background(tmp_path: Path) -> None:
    Image.new("RGBA", (640, 480), (255, 255, 255, 0)).save(tmp_path / "given.png")
    scene = Scene(Operation.IMAGE_TO_VIDEO, "", 1, 640, 480, (tmp_path / "given.png",))
    assert 20 < clear(decoded(shot(scene, tmp_path))[0]).mean() < 80


# References to video


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("size", [(640, 480), (480, 854)])
def test_every_reference_is_shown_all_the_time(
    count: int, size: tuple[int, int], tmp_path: Path
) -> None:
    colours = [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(n / 7, 1, 0.9))
        for n in range(count)
    ]
    images = tuple(
        make_image(tmp_path / f"{n}.png", (red, green, blue), (300 + 100 * n, 400))
        for n, (red, green, blue) in enumerate(colours)
    )
    scene = Scene(Operation.REFERENCE_TO_VIDEO, "@Image1 " * 400, 1, *size, images)
    frames = decoded(shot(scene, tmp_path))
    for frame in frames[0], frames[12], frames[-1]:
        for colour in colours:
            near = np.abs(frame.astype(int) - colour).max(axis=2) < 24
            assert near.sum() > frame.shape[0] * frame.shape[1] / 200
    assert difference(frames[0], frames[12]) > 1


# Edit


@pytest.mark.parametrize("fps", [24, 25, 30, Fraction(24000, 1001), 60, 10])
def test_an_edit_is_as_long_as_its_source(fps: int | Fraction, tmp_path: Path) -> None:
    frames = round(fps * 2)
    source = make_clip(tmp_path / "source.mp4", frames=frames, fps=fps)
    path = shot(Scene(Operation.EDIT_VIDEO, "grade it", None, video=source), tmp_path)
    with av.open(path) as container:
        assert container.streams.video[0].frames == round(frames / Fraction(fps) * 24) == 48
        assert container.duration == 2_000_000
        assert container.streams.video[0].average_rate == 24


def test_an_edit_shows_the_source_at_the_right_moments(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", frames=60, fps=30, size=(320, 240))
    frames = edited(source, "mirror", tmp_path)
    for number in (0, 10, 24, 47):
        expected = clip_picture(number / 48, (320, 240))[:, ::-1]
        assert difference(clear(frames[number]), clear(expected)) < 6


@pytest.mark.parametrize(
    ("size", "result"),
    [
        ((160, 120), (160, 120)),
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((1000, 1000), (720, 720)),
        ((854, 480), (854, 480)),
        ((322, 242), (322, 242)),
        ((2880, 720), (2880, 720)),
    ],
)
def test_an_edit_keeps_the_shape_up_to_720p(
    size: tuple[int, int], result: tuple[int, int], tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "source.mp4", frames=3, size=size)
    assert decoded(shot(Scene(Operation.EDIT_VIDEO, "", None, video=source), tmp_path))[
        0
    ].shape == (result[1], result[0], 3)


def test_a_smaller_tier_is_kept_to(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", frames=3, size=(1280, 720))
    scene = Scene(Operation.EDIT_VIDEO, "", None, 480, 854, video=source)
    assert decoded(shot(scene, tmp_path))[0].shape == (480, 854, 3)


def test_a_source_filmed_upright_stays_upright(tmp_path: Path) -> None:
    source = turn_upright(make_clip(tmp_path / "source.mp4", frames=3, size=(320, 240)))
    first = edited(source, "bright", tmp_path)[0]
    assert first.shape == (320, 240, 3)
    assert first[100, 60, 0] > first[100, 60, 2] + 80  # a quarter turn clockwise: red on top
    assert first[220, 60, 2] > first[220, 60, 0] + 80


def test_black_and_white_has_no_colour(source: Path, tmp_path: Path) -> None:
    frame = clear(edited(source, "Make it Black and White!", tmp_path)[20]).astype(int)
    assert np.abs(frame - frame.mean(axis=2, keepdims=True)).max() < 12


def test_sepia_is_brown_all_over(source: Path, tmp_path: Path) -> None:
    frame = clear(edited(source, "sepia please", tmp_path)[20]).astype(int)
    assert (frame[..., 0] > frame[..., 2] + 15).all()


def test_a_negative_turns_red_to_cyan(source: Path, tmp_path: Path) -> None:
    red, green, blue = edited(source, "invert", tmp_path)[35][120, 60].astype(int)
    assert min(green, blue) > red + 60


def test_a_mirror_swaps_the_sides(source: Path, tmp_path: Path) -> None:
    frame = edited(source, "flip it", tmp_path)[35]
    assert difference(frame[100:140, 20:140], np.full_like(frame[100:140, 20:140], BLUE)) < 8
    assert difference(frame[100:140, 180:300], np.full_like(frame[100:140, 180:300], RED)) < 8


def test_a_blur_softens_the_edge_between_the_colours(source: Path, tmp_path: Path) -> None:
    def steepest(prompt: str) -> int:
        row = edited(source, prompt, tmp_path)[35][120].astype(int)
        return int(np.abs(np.diff(row[:, 0])).max())

    assert steepest("blurry") < steepest("mirror") / 2


def test_slow_motion_shows_half_of_it_in_the_same_time(source: Path, tmp_path: Path) -> None:
    frames = edited(source, "in slow motion, upside down", tmp_path)
    assert len(frames) == 36
    expected = clip_picture(0.45, (320, 240))[::-1]
    assert difference(clear(frames[32]), clear(expected)) < 6


@pytest.mark.parametrize("word", [effect.words[0] for effect in EFFECTS] + ["add a hat"])
def test_every_edit_visibly_changes_the_pictures(word: str, source: Path, tmp_path: Path) -> None:
    before, after = decoded(source)[9], edited(source, f"please: {word}", tmp_path)[9]
    assert difference(clear(before), clear(after)) > 4


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("Turn it sepia, and MIRROR it", ["sepia", "mirror"]),
        ("add a hat", ["grade"]),
        ("slowly", ["slow", "grade"]),
        ("a warmth-less coolness, no blurring", ["grade"]),
        ("old film, b&w", ["black and white", "vintage"]),
    ],
)
def test_effects_are_chosen_by_whole_words(prompt: str, names: list[str]) -> None:
    assert [effect.name for effect in chosen(prompt)] == names


def test_effects_have_names_of_their_own() -> None:
    assert len({effect.name for effect in (*EFFECTS, GRADE)}) == len(EFFECTS) + 1


def test_an_edit_keeps_the_sound(source: Path, tmp_path: Path) -> None:
    level, hz = loudness(shot(Scene(Operation.EDIT_VIDEO, "sepia", None, video=source), tmp_path))
    assert level > 0.08 and hz == pytest.approx(440, abs=3)


def test_a_silent_source_gets_a_chord(tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "source.mp4", tone_hz=None)
    level, _ = loudness(shot(Scene(Operation.EDIT_VIDEO, "", None, video=silent), tmp_path))
    assert 0.01 < level < 0.1


# Extend


def test_an_extension_plays_the_source_and_goes_on_from_its_end(
    source: Path, tmp_path: Path
) -> None:
    path = shot(Scene(Operation.VIDEO_EXTEND, "on and on", 2, video=source), tmp_path)
    with av.open(path) as container:
        assert container.duration == 3_500_000
    before, after = decoded(source), decoded(path)
    assert len(after) == 36 + 48
    for number in (0, 17, 35):
        assert difference(clear(before[number]), clear(after[number])) < 5
    assert difference(clear(after[35]), clear(after[36])) < 5
    assert difference(clear(after[35]), clear(after[-1])) > 3
    _, hz = loudness(path)
    assert hz == pytest.approx(440, abs=3)


def test_an_extension_of_an_extension_adds_up(source: Path, tmp_path: Path) -> None:
    once = shot(Scene(Operation.VIDEO_EXTEND, "one", 2, video=source), tmp_path)
    first = once.rename(tmp_path / "once.mp4")
    twice = shot(Scene(Operation.VIDEO_EXTEND, "two", 3, video=first), tmp_path)
    assert len(decoded(twice)) == 36 + 48 + 72
