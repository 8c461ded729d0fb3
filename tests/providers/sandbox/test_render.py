"""Films from words alone: what every film of the sandbox has to be."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from reelgate.catalog.grok_imagine import SPEC
from reelgate.domain.model import Operation
from reelgate.providers.sandbox.render import render
from reelgate.providers.sandbox.scene import BadInput, Scene, part_path
from tests.support.clips import decoded, difference, loudness

SIZES = sorted(
    {size for ratios in SPEC.pixel_sizes.values() for sizes in ratios.values() for size in sizes}
)
AAC_FRAME_S = 1024 / 48_000


def film(folder: Path, prompt: str = "a boat", seconds: int = 1, size: str = "480x480") -> Path:
    width, height = map(int, size.split("x"))
    out = folder / f"film-{len(list(folder.iterdir()))}.mp4"
    render(Scene(Operation.TEXT_TO_VIDEO, prompt, seconds, width, height), out)
    return out


def seconds_of(stream: av.VideoStream | av.AudioStream) -> Fraction:
    assert stream.duration is not None
    assert stream.time_base is not None
    return stream.duration * stream.time_base


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_filmed_exactly(size: str, tmp_path: Path) -> None:
    with av.open(film(tmp_path, size=size)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert f"{video.width}x{video.height}" == size
        assert (video.codec.name, video.pix_fmt, audio.codec.name) == ("h264", "yuv420p", "aac")
        assert video.average_rate == 24 and video.frames == 24
        assert seconds_of(video) == 1
        assert container.duration == 1_000_000
        assert 1 - AAC_FRAME_S <= seconds_of(audio) <= 1 + AAC_FRAME_S
        assert len(list(container.decode(video))) == 24


def test_there_are_sizes() -> None:
    assert len(SIZES) == 15


@pytest.mark.parametrize("seconds", [1, 2, 7])
def test_the_length_is_exact(seconds: int, tmp_path: Path) -> None:
    path = film(tmp_path, seconds=seconds)
    with av.open(path) as container:
        assert container.duration == seconds * 1_000_000
        assert container.streams.video[0].frames == seconds * 24


def test_a_player_can_start_before_it_has_all(tmp_path: Path) -> None:
    data = film(tmp_path).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_there_is_quiet_sound(tmp_path: Path) -> None:
    level, _ = loudness(film(tmp_path, seconds=2))
    assert 0.01 < level < 0.1


def test_the_picture_moves_and_is_never_black(tmp_path: Path) -> None:
    frames = decoded(film(tmp_path, seconds=2))
    assert all(frame.mean() > 30 for frame in frames)
    middle = [frame[120:240, 100:380] for frame in frames]
    assert all(difference(a, b) > 0.2 for a, b in pairwise(middle))


def test_every_frame_has_the_mark_and_its_own_time(tmp_path: Path) -> None:
    frames = decoded(film(tmp_path, seconds=2))
    marks = [frame[20:28, 18:22].reshape(-1, 3).mean(axis=0) for frame in frames]
    assert all(red > 180 and green < 90 and blue < 100 for red, green, blue in marks)
    clocks = [frame[18:44, 300:464] for frame in frames]
    assert all(difference(a, b) > 0.5 for a, b in pairwise(clocks))


def test_the_prompt_is_written_in_the_picture(tmp_path: Path) -> None:
    """The same letters twice as often are twice as much white on the dark panel."""

    def ink(prompt: str) -> int:
        panel = decoded(film(tmp_path, prompt))[0][270:466, 16:464]
        return int(np.count_nonzero(panel.min(axis=2) > 200))

    once, twice = ink("HHHHH HHHHH"), ink("HHHHH HHHHH HHHHH HHHHH")
    assert once > 300
    assert twice == pytest.approx(2 * once, rel=0.15)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "word " * 819,
        "x" * 4096,
        "紙の船が月明かりの港を渡る。" * 20,
        "قارب ورقي يعبر الميناء, नाव चाँदनी, 🚤👩‍👩‍👧 e\u0301",
        "a\x00b\tc\r\nd\u202e\ufeff\ue000\U0010ffff",
        "\ud800",
    ],
    ids=["empty", "long", "one word", "japanese", "scripts", "controls", "half a pair"],
)
def test_any_prompt_can_be_filmed(prompt: str, tmp_path: Path) -> None:
    assert len(decoded(film(tmp_path, prompt))) == 24


def test_letters_that_no_font_has_are_not_left_out(tmp_path: Path) -> None:
    frames = [decoded(film(tmp_path, prompt))[0] for prompt in ("\ue000", "\ue001")]
    panel = [frame[400:470, 16:80] for frame in frames]
    assert all(np.count_nonzero(picture.min(axis=2) > 150) > 30 for picture in panel)
    assert difference(*panel) > 1


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path) -> None:
    one, again = film(tmp_path, "tea").read_bytes(), film(tmp_path, "tea").read_bytes()
    assert one == again
    assert film(tmp_path, "coffee").read_bytes() != one


def test_progress_rises_to_100_and_the_file_comes_last(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    seen: list[tuple[int, bool]] = []
    render(
        Scene(Operation.TEXT_TO_VIDEO, "tea", 2, 320, 240),
        out,
        lambda percent: seen.append((percent, out.exists())),
    )
    percents = [percent for percent, _ in seen]
    assert percents == sorted(set(percents))
    assert percents[0] == 0 and percents[-1] == 100 and len(percents) > 40
    assert [there for _, there in seen] == [percent == 100 for percent in percents]
    assert list(tmp_path.iterdir()) == [out]


def test_what_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    halfway: list[list[Path]] = []

    def stop(percent: int) -> None:
        if percent == 50:
            halfway.append(list(tmp_path.iterdir()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        render(Scene(Operation.TEXT_TO_VIDEO, "tea", 2, 320, 240), out, stop)
    assert halfway == [[part_path(out)]]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "width", "height"),
    [
        (0, 640, 480),
        (61, 640, 480),
        (None, 640, 480),
        (1, None, 480),
        (1, 641, 480),
        (1, 1920, 1080),
        (1, 30, 30),
        (1, 4000, 480),
        (1, 2, 100_000),
        (1, -640, -480),
    ],
)
def test_scenes_out_of_bounds_are_refused(
    seconds: int | None, width: int | None, height: int | None, tmp_path: Path
) -> None:
    scene = Scene(Operation.TEXT_TO_VIDEO, "tea", seconds, width, height)
    with pytest.raises(BadInput):
        render(scene, tmp_path / "film.mp4")


def test_four_times_real_time_at_720p_on_two_cores(tmp_path: Path) -> None:
    """By processor time, which other work on the machine does not change."""
    render(Scene(Operation.TEXT_TO_VIDEO, "warm up", 1, 640, 480), tmp_path / "warm.mp4")
    start = time.process_time()
    film(tmp_path, "a boat on the sea", 5, "1280x720")
    assert time.process_time() - start < 2 * 5 / 4
