"""Stills of a finished clip. Both functions block for as long as decoding takes: use a thread."""

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from PIL import Image

from reelgate.media.decoding import open_video
from reelgate.media.facts import BadMedia
from reelgate.media.mp4 import probe_mp4_file

THUMBNAIL_PX_MAX = 640
TILE_PX_MAX = 256
SHEET_COLUMNS = SHEET_ROWS = 5
FRAMES_DECODED_MAX = 3000  # two minutes of our films; a longer clip is shown as far as that
FRAME_PIXELS_MAX = 4096 * 2304
_THUMBNAIL_AT_S = Fraction(1)
_GRAIN_S = Fraction(1, 1000)  # lengths are known to the millisecond
_DECODER_THREADS = 2


def thumbnail(path: Path) -> bytes:
    """A WebP of the frame one second in, or halfway in a shorter clip; sides up to 640 pixels.

    Raises BadMedia when there is no frame to be had, OSError when the file can't be read.
    """
    halfway = Fraction(probe_mp4_file(path).duration_ms, 2000)
    [still] = _stills(path, [min(_THUMBNAIL_AT_S, halfway)], THUMBNAIL_PX_MAX)
    return _encoded(still, "WEBP")


def spritesheet(path: Path) -> bytes:
    """A JPEG of 5 by 5 frames, evenly spread, row by row; each with sides up to 256 pixels.

    Raises BadMedia when there is no frame to be had, OSError when the file can't be read.
    """
    count = SHEET_COLUMNS * SHEET_ROWS
    facts = probe_mp4_file(path)
    length = min(Fraction(facts.duration_ms, 1000), FRAMES_DECODED_MAX / Fraction(facts.fps))
    tiles = list(_stills(path, [length * n / count for n in range(count)], TILE_PX_MAX))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (width * SHEET_COLUMNS, height * SHEET_ROWS))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, SHEET_COLUMNS)
        sheet.paste(tile, (column * width, row * height))
    return _encoded(sheet, "JPEG")


def _stills(path: Path, times_s: list[Fraction], side_px_max: int) -> Iterator[Image.Image]:
    """One picture for each of these rising times: what is on screen then.

    Of a clip whose frames end early, the last one again.
    """
    waiting = list(times_s)
    shown: av.VideoFrame | None = None
    for when, frame in _frames(path):
        while waiting and shown is not None and waiting[0] + _GRAIN_S < when:
            waiting.pop(0)
            yield _picture(shown, side_px_max)
        shown = frame
        if not waiting:
            return
    if shown is None:
        raise BadMedia("the video has no frame that can be decoded")
    for _ in waiting:
        yield _picture(shown, side_px_max)


def _frames(path: Path) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Decoded frames and their times in seconds, the first at 0."""
    with open_video(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(FRAME_PIXELS_MAX)}
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _DECODER_THREADS
        start: int | None = None
        for number, frame in enumerate(container.decode(stream)):
            if number == FRAMES_DECODED_MAX or frame.pts is None or frame.time_base is None:
                return
            start = frame.pts if start is None else start
            yield (frame.pts - start) * frame.time_base, frame


def _picture(frame: av.VideoFrame, side_px_max: int) -> Image.Image:
    """A frame as it is shown, upright and no bigger than this."""
    scale = min(1.0, side_px_max / max(frame.width, frame.height))
    width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
    picture = Image.fromarray(frame.reformat(width, height, "rgb24").to_ndarray())
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _encoded(picture: Image.Image, kind: str) -> bytes:
    out = BytesIO()
    picture.save(out, kind, quality=82)
    return out.getvalue()
