"""From a job to a scene: every input is brought to a local file first, within its limits."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from reelgate.domain.errors import ReelgateError
from reelgate.domain.model import TIER_480P, TIER_720P
from reelgate.net.errors import DownloadFailed, TooLarge, WrongType
from reelgate.net.guard import Guard
from reelgate.providers.sandbox.jobs import JobRecord, Source
from reelgate.providers.sandbox.scene import BadInput, Scene

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP")
IMAGE_BYTES_MAX = 10 * 1024 * 1024
VIDEO_BYTES_MAX = 50 * 1024 * 1024
SHORT_SIDE: Mapping[str | None, int] = {TIER_480P: 480, TIER_720P: 720}  # pixels
EXIF_ORIENTATION, EXIF_ON_ITS_SIDE = 0x0112, frozenset({5, 6, 7, 8})


class InputUnreachable(ReelgateError):
    """An input's URL gave no bytes; the message may be shown to the customer."""


async def gather(record: JobRecord, folder: Path, work: Path, guard: Guard) -> Scene:
    """Fetch what a job names and make it a scene; files go to `work`.

    Raises InputUnreachable, and BadInput for what is too big or not a picture.
    """
    images = [
        await _local(source, folder, work / f"image{number}", IMAGE_BYTES_MAX, guard)
        for number, source in enumerate(record.images)
    ]
    video = None
    if record.video:
        video = await _local(record.video, folder, work / "video", VIDEO_BYTES_MAX, guard)
    width, height = record.width, record.height
    if width is None or height is None:
        width, height = await asyncio.to_thread(_size, record.tier, images)
    return Scene(
        operation=record.operation,
        prompt=record.prompt,
        seconds=record.seconds,
        width=width,
        height=height,
        images=tuple(images),
        video=video,
    )


async def _local(source: Source, folder: Path, to: Path, bytes_max: int, guard: Guard) -> Path:
    if source.url is None:
        return folder / str(source.file)
    try:
        await _fetch(source.url, to, bytes_max, guard)
    except (TooLarge, WrongType) as error:
        raise BadInput(f"an input can't be used: {error}") from error
    except DownloadFailed as error:
        raise InputUnreachable(f"an input can't be fetched: {error}") from error
    return to


async def _fetch(url: str, to: Path, bytes_max: int, guard: Guard) -> None:
    async with guard.open(url, bytes_max=bytes_max) as stream:
        file = await asyncio.to_thread(to.open, "wb")
        try:
            async for chunk in stream.chunks():
                await asyncio.to_thread(file.write, chunk)
        finally:
            file.close()


def _size(tier: str | None, images: list[Path]) -> tuple[int | None, int | None]:
    """The size of a film whose order names none: an image's shape at the tier's height.

    Without an image it is the most that the source's own size is brought down to.
    """
    short = SHORT_SIDE.get(tier)
    if short is None or not images:
        return short, short
    try:
        with Image.open(images[0], formats=PICTURE_FORMATS) as image:
            width, height = image.size
            if image.getexif().get(EXIF_ORIENTATION) in EXIF_ON_ITS_SIDE:
                width, height = height, width
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
        raise BadInput("an image can't be read: it is damaged, or not JPEG, PNG or WebP") from error
    return _even(width * short / min(width, height)), _even(height * short / min(width, height))


def _even(side: float) -> int:
    return round(side / 2) * 2
