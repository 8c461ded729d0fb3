"""What some bytes are, by the bytes alone: no name, no declared type, no header is believed."""

from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image

from reelgate.media.decoding import open_video
from reelgate.media.facts import BadMedia, ImageFacts, VideoFacts
from reelgate.media.mp4 import probe_mp4_file

SNIFF_BYTES = 16  # how much of the beginning `sniff` needs
IMAGE_PIXELS_MAX = 50_000_000

_MP4 = "video/mp4"
_IMAGE_MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
# Files of the same structure that are pictures, sound alone, or QuickTime's own.
_NOT_MP4_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"mif1", b"msf1", b"M4A ", b"qt  ")
# Values of the EXIF orientation that turn a picture by a quarter.
_SIDEWAYS = (5, 6, 7, 8)
_TOO_MANY_PIXELS = f"the image has more than {IMAGE_PIXELS_MAX} pixels"


def sniff(head: bytes) -> str | None:
    """The MIME type that a file beginning with these bytes claims to have.

    One of image/jpeg, image/png, image/webp and video/mp4; None for everything else.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return _IMAGE_MIMES["JPEG"]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _IMAGE_MIMES["PNG"]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _IMAGE_MIMES["WEBP"]
    if head[4:8] == b"ftyp" and head[8:12] not in _NOT_MP4_BRANDS:
        return _MP4
    return None


def probe_video(path: Path) -> VideoFacts:
    """Measure a clip on disk and prove it whole; reads all of it, decodes none.

    Raises BadMedia for one that is not, and OSError.
    """
    facts = probe_mp4_file(path)
    with open_video(path) as container:
        if not container.streams.video:
            raise BadMedia("the video has no pictures")
        there = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    if there != facts.frames:
        raise BadMedia(f"the video is cut off or damaged: {there} of {facts.frames} frames")
    return facts


def probe_image(source: Path | bytes) -> ImageFacts:
    """Measure a picture, having decoded all of it. Animations count as their first picture.

    Raises BadMedia for anything but a sound JPEG, PNG or WebP of bearable size, and OSError
    where a path can't be opened.
    """
    data = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with data:
        try:
            with Image.open(data, formats=tuple(_IMAGE_MIMES)) as image:
                return _measure(image)
        except BadMedia:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise BadMedia(_TOO_MANY_PIXELS) from error
        except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
            raise BadMedia("the image is damaged, or not JPEG, PNG or WebP") from error


def _measure(image: Image.Image) -> ImageFacts:
    mime, width, height = _IMAGE_MIMES[image.format or ""], image.width, image.height
    if width * height > IMAGE_PIXELS_MAX:
        raise BadMedia(_TOO_MANY_PIXELS)
    on_its_side = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    # A JPEG's eighth is enough: its data has to be read to the end for that, too.
    image.draft("RGB", (width // 8, height // 8))
    image.load()
    return ImageFacts(mime, *((height, width) if on_its_side else (width, height)))
