"""Real MP4s and pictures to test with, small and quickly made; and ways to look into films."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]  # rows, columns, RGB

RED, BLUE = (200, 40, 40), (40, 40, 200)


def make_clip(
    path: Path,
    *,
    frames: int = 24,
    fps: Fraction | int = 24,
    size: tuple[int, int] = (160, 120),
    tone_hz: float | None = 440,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    movflags: str = "+faststart",
    options: dict[str, str] | None = None,
) -> Path:
    """A clip, red on the left and blue on the right, with a bar of white that travels down.

    `tone_hz` None leaves it without a sound track.
    """
    if codec == "libx264":
        options = {"preset": "ultrafast", **(options or {})}
    with av.open(
        path, "w", format="mp4", options={"movflags": movflags} if movflags else {}
    ) as container:
        video = container.add_stream(codec, rate=fps, options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        if tone_hz:
            sound = container.add_stream("aac", rate=48_000, layout="mono")
            assert isinstance(sound, av.AudioStream)
            for audio_frame in _tone(tone_hz, Fraction(frames) / fps):
                container.mux(sound.encode(audio_frame))
            container.mux(sound.encode(None))
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(clip_picture(number / frames, size), format="rgb24")
            frame.pts, frame.time_base = number, 1 / Fraction(fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def make_sound(path: Path, seconds: int = 1) -> Path:
    """An MP4 with a sound track and nothing else."""
    with av.open(path, "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        assert isinstance(sound, av.AudioStream)
        for frame in _tone(440, Fraction(seconds)):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def clip_picture(share: float, size: tuple[int, int]) -> Picture:
    """What `make_clip` shows when this share of it is over."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2], picture[:, width // 2 :] = RED, BLUE
    top = round(share * height * 0.9)
    picture[top : top + max(2, height // 10)] = 255
    return picture


def make_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int]) -> Path:
    """A picture of one colour; the suffix says its format."""
    Image.new("RGB", size, colour).save(path)
    return path


def turn_upright(path: Path) -> Path:
    """Mark a clip as filmed with the camera held upright: a quarter turn clockwise when shown."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def decoded(path: Path, size: tuple[int, int] | None = None) -> list[Picture]:
    """All frames of a film, scaled to this size if one is given."""
    width, height = size or (None, None)
    with av.open(path) as container:
        return [
            np.asarray(frame.reformat(width, height, "rgb24").to_ndarray(), np.uint8)
            for frame in container.decode(video=0)
        ]


def loudness(path: Path) -> tuple[float, float]:
    """A film's sound: its root mean square, and its strongest frequency in Hz."""
    with av.open(path) as container:
        pieces = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate(pieces)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.sqrt(np.mean(samples**2))), float(spectrum.argmax() * rate / len(samples))


def difference(one: Picture, other: Picture) -> float:
    """How far two pictures are apart on average, in steps of 0 to 255."""
    return float(np.mean(np.abs(one.astype(np.int16) - other.astype(np.int16))))


def _tone(hz: float, seconds: Fraction) -> list[av.AudioFrame]:
    samples = round(seconds * 48_000)
    wave = 0.2 * np.sin(np.arange(samples) * (2 * math.pi * hz / 48_000))
    frames = []
    for start in range(0, samples, 1024):
        piece = np.ascontiguousarray(wave[None, start : start + 1024].astype(np.float32))
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        frames.append(frame)
    return frames
