"""Given pictures and clips, opened with suspicion.

Whatever is wrong with them becomes `BadInput`. Size, length and number of frames are bounded
before anything big is decoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image, ImageOps

from reelgate.providers.sandbox.planes import Planes, from_frame
from reelgate.providers.sandbox.scene import (
    FPS,
    PICTURE_PIXELS_MAX,
    SIDE_MAX,
    SOURCE_FRAMES_MAX,
    SOURCE_MS_MAX,
    BadInput,
    check_sides,
)
from reelgate.providers.sandbox.sound import RATE, Samples

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP")
DECODERS = ("h264", "hevc", "av1", "libdav1d")
_BACKGROUND = (38, 40, 48)  # behind transparent pictures
# The one demuxer wanted: probing could otherwise find a playlist that names other files.
_DEMUXER = "mov"
_DEMUXER_OPTIONS = {"protocol_whitelist": "file", "enable_drefs": "0"}
_DECODER_THREADS = 2
_TOO_MANY_PIXELS = f"an image has more than {PICTURE_PIXELS_MAX} pixels"


def load_picture(path: Path, width: int, height: int) -> Image.Image:
    """A picture, upright and opaque, reduced until it just covers this many pixels."""
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            _check_pixels(image)
            # A JPEG is decoded no bigger than needed; square, for it may lie on its side.
            image.draft("RGB", (max(width, height),) * 2)
            return _opaque(ImageOps.exif_transpose(image), width, height)
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(_TOO_MANY_PIXELS) from error
    except Exception as error:  # decoders raise whatever they stumble over
        raise BadInput("an image can't be read: it is damaged, or not JPEG, PNG or WebP") from error


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > PICTURE_PIXELS_MAX:
        raise BadInput(_TOO_MANY_PIXELS)


def _opaque(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(1.0, max(width / image.width, height / image.height))
    size = (max(2, round(image.width * scale)), max(2, round(image.height * scale)))
    if size != image.size:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if not image.has_transparency_data:
        return image.convert("RGB")
    under = Image.new("RGBA", image.size, _BACKGROUND)
    return Image.alpha_composite(under, image.convert("RGBA")).convert("RGB")


@dataclass(frozen=True, slots=True)
class Clip:
    """A source clip: its size as shown, in pixels, and its length in frames of ours."""

    path: Path
    width: int
    height: int
    frames: int
    quarter_turns: int  # counter-clockwise, from the decoded picture to the one shown

    @classmethod
    def open(cls, path: Path) -> "Clip":
        """Measure a clip. Raises BadInput for one that can't be used."""
        with _demuxing(path, ignore_editlist=True) as container:
            stream = _picture_stream(container)
            seconds = _length_s(container, stream)
        with _demuxing(path, ignore_editlist=True) as container:
            first = next(container.decode(_picture_stream(container)), None)
            if first is None:
                raise BadInput("the video has no picture that can be read")
            turns = round(first.rotation / 90) % 4
            width, height = (first.width, first.height)[:: -1 if turns % 2 else 1]
        return cls(path, width, height, max(1, round(seconds * FPS)), turns)

    def pictures(self, width: int, height: int, speed: float = 1.0) -> Iterator[Planes]:
        """As many pictures as `frames` says, 24 a second, at this even size."""
        step = Fraction(speed) / FPS
        shown: Planes | None = None
        with _demuxing(self.path, ignore_editlist=True) as container:
            coming = self._decoded(container)
            when, picture = next(coming, (Fraction(0), None))
            for number in range(self.frames):
                current = None
                # Nearest in time, so that 23.976 a second does not stutter.
                while picture is not None and when <= number * step + Fraction(1, 2 * FPS):
                    current = picture
                    when, picture = next(coming, (when, None))
                if current is not None:
                    shown = self._upright(current, width, height)
                if shown is None:
                    raise BadInput("the video has no picture that can be read")
                yield shown

    def _decoded(self, container: InputContainer) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Frames with their times in seconds, the first at 0."""
        stream = _picture_stream(container)
        start: int | None = None
        for frame in container.decode(stream):
            if frame.pts is None or frame.time_base is None:
                raise BadInput("the video has frames without a time")
            check_sides(frame.width, frame.height)  # may change in the middle of a stream
            start = frame.pts if start is None else start
            yield (frame.pts - start) * frame.time_base, frame

    def _upright(self, frame: av.VideoFrame, width: int, height: int) -> Planes:
        if self.quarter_turns % 2:
            width, height = height, width
        picture = from_frame(frame, width, height)
        return Planes(*(np.rot90(plane, self.quarter_turns) for plane in picture))

    def sound(self) -> Samples | None:
        """The clip's sound at our rate; None when it has none that can be read."""
        try:
            with _demuxing(self.path) as container:
                if not container.streams.audio:
                    return None
                return _decode_sound(container, self.frames * RATE // FPS)
        except BadInput:
            return None


@contextmanager
def _demuxing(path: Path, *, ignore_editlist: bool = False) -> Iterator[InputContainer]:
    """An opened MP4, closed afterwards. What the library raises in between is BadInput."""
    options = {**_DEMUXER_OPTIONS, "ignore_editlist": str(int(ignore_editlist))}
    try:
        with av.open(path.absolute(), format=_DEMUXER, options=options) as container:
            yield container
    except (av.error.FFmpegError, ValueError) as error:
        raise BadInput("the video can't be read: it is damaged, or not an MP4") from error


def _picture_stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise BadInput("the video has no pictures, only sound or data")
    stream = container.streams.video[0]
    codec = stream.codec_context
    if getattr(codec, "name", None) not in DECODERS:  # None where there is no decoder at all
        raise BadInput("the video is not H.264, H.265 or AV1")
    check_sides(codec.width, codec.height)
    codec.options = {"max_pixels": str(SIDE_MAX**2)}  # the size may change in mid-stream
    codec.thread_count = _DECODER_THREADS
    codec.thread_type = "AUTO"
    return stream


def _length_s(container: InputContainer, stream: VideoStream) -> Fraction:
    """Seconds from the first frame to the end of the last, by what is really there."""
    starts: list[int] = []
    ends: list[int] = []
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.pts is None or len(starts) >= SOURCE_FRAMES_MAX:
            raise BadInput(f"the video has more than {SOURCE_FRAMES_MAX} frames, or untimed ones")
        starts.append(packet.pts)
        ends.append(packet.pts + (packet.duration or 0))
    if not starts or stream.time_base is None or len(starts) < stream.frames:
        raise BadInput("the video is cut off: not all of its frames are there")
    seconds = (max(ends) - min(starts)) * stream.time_base
    if not 0 < seconds * 1000 <= SOURCE_MS_MAX:
        raise BadInput(f"the video must be at most {SOURCE_MS_MAX // 1000} seconds long")
    return Fraction(seconds)


def _decode_sound(container: InputContainer, samples: int) -> Samples | None:
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
    pieces: list[Samples] = []
    count = 0
    for frame in container.decode(container.streams.audio[0]):
        if not pieces and frame.time:
            silence = min(max(0, round(frame.time * RATE)), samples)
            pieces.append(np.zeros((2, silence), np.float32))
            count = silence
        for piece in resampler.resample(frame):
            pieces.append(np.asarray(piece.to_ndarray(), np.float32))
            count += piece.samples
        if count >= samples:
            break
    return np.concatenate(pieces, axis=1) if pieces else None
