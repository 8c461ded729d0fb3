"""What is known of a picture or clip once its bytes were looked at."""

from dataclasses import dataclass

from reelgate.domain.errors import ReelgateError


class BadMedia(ReelgateError):
    """Bytes that are not the whole, sound media they should be. The message may be shown."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """A clip, measured. `codec` is the MP4 sample entry: `avc1`, `hvc1`, `av01`, …

    `width` and `height` are as shown, after rotation. `frames` are the video track's samples,
    `fps` their average rate. `faststart`: a player can begin before it has all the bytes.
    """

    duration_ms: int
    width: int
    height: int
    fps: float
    codec: str
    frames: int
    has_audio: bool
    faststart: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A picture, measured; `width` and `height` as shown, after rotation."""

    mime: str
    width: int
    height: int
