"""What files are, whatever they are called."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from reelgate.media.facts import BadMedia, ImageFacts
from reelgate.media.mp4 import probe_mp4_file
from reelgate.media.probe import SNIFF_BYTES, probe_image, probe_video, sniff
from tests.support.clips import clip_picture, make_clip, make_image, make_sound

MIMES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


def png_claiming(width: int, height: int) -> bytes:
    """A short PNG that says it has this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows + chunk(b"IEND", b"")


# Sniffing


@pytest.mark.parametrize(("suffix", "mime"), MIMES.items())
def test_images_are_known_by_their_first_bytes(suffix: str, mime: str, tmp_path: Path) -> None:
    path = make_image(tmp_path / f"a.{suffix}", (1, 2, 3), (32, 32))
    assert sniff(path.read_bytes()[:SNIFF_BYTES]) == mime


@pytest.mark.parametrize("movflags", ["+faststart", "", "+frag_keyframe+empty_moov"])
def test_videos_are_known_by_their_first_bytes(movflags: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=2, movflags=movflags)
    assert sniff(path.read_bytes()[:SNIFF_BYTES]) == "video/mp4"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"GIF89a" + bytes(10),
        b"RIFF\x00\x00\x00\x00WAVE",
        b"<svg xmlns=",
        b"%PDF-1.7",
        b"\x1a\x45\xdf\xa3" + bytes(12),
        b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00",
        b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00",
        b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00",
        b"\x00\x00\x00\x1cftypM4A \x00\x00\x00\x00",
        b"ftypisom" + bytes(8),
    ],
)
def test_everything_else_is_unknown(head: bytes) -> None:
    assert sniff(head) is None


# Images


@pytest.mark.parametrize(("suffix", "mime"), MIMES.items())
def test_images_are_measured_from_files_and_bytes(suffix: str, mime: str, tmp_path: Path) -> None:
    path = make_image(tmp_path / f"a.{suffix}", (1, 2, 3), (123, 77))
    unnamed = path.rename(tmp_path / "unnamed")
    assert probe_image(unnamed) == probe_image(unnamed.read_bytes()) == ImageFacts(mime, 123, 77)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16"])
def test_images_of_every_mode_are_measured(mode: str, tmp_path: Path) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (40, 30)).save(tmp_path / f"a.{suffix}")
    assert probe_image(tmp_path / f"a.{suffix}").width == 40


@pytest.mark.parametrize(("orientation", "size"), [(1, (80, 40)), (3, (80, 40)), (6, (40, 80))])
def test_images_are_measured_as_shown(
    orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    image = Image.new("RGB", (80, 40))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif)
    facts = probe_image(tmp_path / "a.jpg")
    assert (facts.width, facts.height) == size


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_images_cut_off_are_refused(suffix: str, share: float, tmp_path: Path) -> None:
    picture = Image.fromarray(clip_picture(0.5, (640, 480)))
    picture.save(tmp_path / f"a.{suffix}", quality=90)
    data = (tmp_path / f"a.{suffix}").read_bytes()
    with pytest.raises(BadMedia, match="damaged"):
        probe_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_images_of_too_many_pixels_are_refused(side: int) -> None:
    with pytest.raises(BadMedia, match="more than 50000000 pixels"):
        probe_image(png_claiming(side, side))


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xe0" + bytes(50)])
def test_other_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(BadMedia, match="not JPEG, PNG or WebP"):
        probe_image(data)


@pytest.mark.parametrize("suffix", ["gif", "bmp", "tiff", "ico"])
def test_other_formats_are_no_image(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(BadMedia):
        probe_image(make_image(tmp_path / f"a.{suffix}", (1, 2, 3), (32, 32)))


def test_a_missing_file_is_the_caller_s_business(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe_image(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        probe_video(tmp_path / "a.mp4")


# Videos


@pytest.mark.parametrize(
    "movflags", ["+faststart", "", "+frag_keyframe+empty_moov+default_base_moof"]
)
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_whole_videos_are_measured(movflags: str, codec: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=12, movflags=movflags, codec=codec)
    assert probe_video(path) == probe_mp4_file(path)


def test_frames_out_of_order_are_all_counted(tmp_path: Path) -> None:
    options = {"preset": "medium", "bf": "3"}
    assert probe_video(make_clip(tmp_path / "a.mp4", frames=48, options=options)).frames == 48


@pytest.mark.parametrize("movflags", ["+faststart", ""])
def test_videos_cut_off_are_refused(movflags: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", movflags=movflags)
    data = path.read_bytes()
    for share in (0.2, 0.5, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadMedia):
            probe_video(path)


def test_media_data_shortened_with_its_box_is_noticed(tmp_path: Path) -> None:
    """Somebody made the sizes add up again: the samples still do not fit."""
    path = make_clip(tmp_path / "a.mp4", frames=24)
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") - 4
    size = int.from_bytes(data[at : at + 4], "big") // 2
    data[at : at + 4] = size.to_bytes(4, "big")
    path.write_bytes(data[: at + size])
    with pytest.raises(BadMedia, match="less media data"):
        probe_video(path)


def test_a_video_with_samples_that_are_not_there_is_refused(tmp_path: Path) -> None:
    """The index points a chunk at the very end: the sums fit, the samples do not."""
    path = make_clip(tmp_path / "a.mp4", frames=24, tone_hz=None)
    data = bytearray(path.read_bytes())
    at = data.index(b"stco") + 12
    data[at : at + 4] = (len(data) - 10).to_bytes(4, "big")
    path.write_bytes(data)
    assert probe_mp4_file(path).frames == 24
    with pytest.raises(BadMedia, match="frames"):
        probe_video(path)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")
    image = make_image(tmp_path / "a.png", (1, 2, 3), (32, 32))
    for path in playlist, image, make_sound(tmp_path / "a.mp4"):
        with pytest.raises(BadMedia) as refusal:
            probe_video(path)
        assert str(tmp_path) not in str(refusal.value)
