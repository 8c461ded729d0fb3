"""What the sandbox is asked to film, and what it refuses to look at."""

from dataclasses import dataclass
from pathlib import Path

from reelgate.domain.errors import ReelgateError
from reelgate.domain.model import Operation

FPS = 24

SECONDS_MAX = 60
SHORT_SIDE_MAX = 720
SIDE_MIN = 32
SIDE_MAX = 4096
ASPECT_MAX = 4
PICTURES_MAX = 16
PICTURE_PIXELS_MAX = 50_000_000
SOURCE_MS_MAX = 60_000
SOURCE_FRAMES_MAX = 10_000


class BadInput(ReelgateError):
    """A scene that can't be filmed; the message may be shown to the customer."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One film to render. The same scene gives the same bytes on the same machine.

    `seconds` is the length to make: of the whole film, or of the part that `video_extend`
    adds; an edit is as long as its source and takes None. `width` and `height` are even
    pixels. An edit or extension keeps its source's shape and takes None for both, or sizes
    whose shorter one caps the result's shorter side (720 at most in any case).
    """

    operation: Operation
    prompt: str
    seconds: int | None
    width: int | None = None
    height: int | None = None
    images: tuple[Path, ...] = ()
    video: Path | None = None

    def length_s(self) -> int:
        """Seconds to make. Raises BadInput when absent or out of bounds."""
        if self.seconds is None or not 1 <= self.seconds <= SECONDS_MAX:
            raise BadInput(f"seconds must be 1 to {SECONDS_MAX}, not {self.seconds}")
        return self.seconds

    def size(self) -> tuple[int, int]:
        """Width and height in pixels. Raises BadInput when absent, odd or out of bounds."""
        if self.width is None or self.height is None:
            raise BadInput(f"{self.operation} needs a width and a height")
        check_sides(self.width, self.height)
        if self.width % 2 or self.height % 2 or min(self.width, self.height) > SHORT_SIDE_MAX:
            raise BadInput(
                f"{self.width}x{self.height}: both sides must be even, "
                f"the shorter one at most {SHORT_SIDE_MAX}"
            )
        return self.width, self.height

    def size_like(self, width: int, height: int) -> tuple[int, int]:
        """The even size for a source of this size: its shape, its shorter side capped."""
        caps = [side for side in (self.width, self.height) if side is not None]
        short = min(width, height)
        target = min(short, SHORT_SIDE_MAX, *caps)
        return _even(width * target / short), _even(height * target / short)

    def source(self) -> Path:
        """The source clip. Raises BadInput when there is none."""
        if self.video is None:
            raise BadInput(f"{self.operation} needs a video")
        return self.video


def part_path(out: Path) -> Path:
    """Where a film lies while it is being made."""
    return out.with_name(f".{out.name}.part")


def check_sides(width: int, height: int) -> None:
    """Refuse pictures too small to show, too big to hold, or too oblong for either."""
    short, long = sorted((width, height))
    if short < SIDE_MIN or long > SIDE_MAX or long > ASPECT_MAX * short:
        raise BadInput(
            f"{width}x{height} is not a usable size: sides of {SIDE_MIN} to {SIDE_MAX} pixels, "
            f"the longer one at most {ASPECT_MAX} times the shorter"
        )


def _even(side: float) -> int:
    return max(2, round(side / 2) * 2)
