"""MP4 structure, as real encoders write it and as an adversary would."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgate.media.facts import BadMedia, VideoFacts
from reelgate.media.mp4 import (
    INDEX_BYTES_MAX,
    READ_AHEAD_BYTES,
    TOP_BOXES_MAX,
    probe_mp4,
    probe_mp4_file,
    walk_mp4,
)
from tests.support.clips import make_clip, make_sound, turn_upright

FRAGMENTED = "+frag_keyframe+delay_moov+default_base_moof"


def measure(data: bytes) -> VideoFacts:
    """What the walk finds in these bytes, asked for piece by piece."""
    walk = walk_mp4(len(data))
    try:
        offset, length = next(walk)
        while True:
            assert offset >= 0 and length > 0 and offset + length <= len(data)
            offset, length = walk.send(data[offset : offset + length])
    except StopIteration as end:
        facts: VideoFacts = end.value
        return facts


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def table(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


FTYP = box(b"ftyp", b"isom", bytes(4))


def track(
    *,
    handler: bytes = b"vide",
    timescale: int = 1000,
    stts: bytes = table(0, 1, 2, 500),
    stsz: bytes = table(0, 0, 2, 4, 4),
    chunks: bytes = box(b"stco", table(0, 1, 1000)),
    size: tuple[int, int] = (64, 48),
) -> bytes:
    """A `trak` of two samples of four bytes, half a second each."""
    entry = box(b"avc1", bytes(24), struct.pack(">HH", *size), bytes(50))
    stbl = box(
        b"stbl",
        box(b"stsd", table(0, 1), entry),
        box(b"stts", stts),
        box(b"stsz", stsz),
        chunks,
    )
    return box(
        b"trak",
        box(b"tkhd", table(7, 0, 0, 1), bytes(24), table(1 << 16, 0, 0, 0, 1 << 16), bytes(24)),
        box(
            b"mdia",
            box(b"mdhd", table(0, 0, 0, timescale, 1000)),
            box(b"hdlr", bytes(8), handler, bytes(13)),
            box(b"minf", stbl),
        ),
    )


def movie(*tracks: bytes, mdat: bytes = bytes(8), extra: bytes = b"") -> bytes:
    """A whole file: its media data begins so that offset 1000 is inside it."""
    moov = box(b"moov", box(b"mvhd", table(0, 0, 0, 1000, 1000), bytes(80)), *tracks)
    gap = 1000 - len(FTYP) - len(moov) - 8
    return FTYP + moov + box(b"free", bytes(gap - 8)) + box(b"mdat", mdat) + extra


# Real files


@pytest.mark.parametrize("movflags", ["+faststart", "", FRAGMENTED])
def test_real_files_are_measured(movflags: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=50, fps=25, size=(320, 240), movflags=movflags)
    assert probe_mp4_file(path) == VideoFacts(
        duration_ms=2000,
        width=320,
        height=240,
        fps=25.0,
        codec="avc1",
        frames=50,
        has_audio=True,
        faststart=movflags != "",
        bytes=path.stat().st_size,
    )


@pytest.mark.parametrize(
    ("codec", "name"), [("libx264", "avc1"), ("libx265", "hev1"), ("libsvtav1", "av01")]
)
def test_codecs_are_named(codec: str, name: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=5, codec=codec, tone_hz=None)
    facts = probe_mp4_file(path)
    assert (facts.codec, facts.frames, facts.has_audio) == (name, 5, False)


def test_frames_out_of_order_do_not_change_the_length(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=48, options={"preset": "medium", "bf": "3"})
    assert b"ctts" in path.read_bytes()
    assert probe_mp4_file(path).duration_ms == 2000


@pytest.mark.parametrize(
    ("fps", "frames", "duration_ms"),
    [(Fraction(24000, 1001), 145, 6048), (Fraction(30000, 1001), 30, 1001), (7, 10, 1429)],
)
def test_the_length_is_that_of_the_samples(
    fps: Fraction | int, frames: int, duration_ms: int, tmp_path: Path
) -> None:
    facts = probe_mp4_file(make_clip(tmp_path / "a.mp4", fps=fps, frames=frames))
    assert facts.duration_ms == duration_ms
    assert facts.fps == pytest.approx(float(fps), abs=0.01)


def test_the_header_s_own_length_is_not_believed(tmp_path: Path) -> None:
    data = bytearray(make_clip(tmp_path / "a.mp4").read_bytes())
    for kind, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.index(kind) + offset
        data[at : at + 4] = table(1)
    assert measure(bytes(data)).duration_ms == 1000


def test_sizes_are_as_shown(tmp_path: Path) -> None:
    facts = probe_mp4_file(turn_upright(make_clip(tmp_path / "a.mp4", size=(320, 240))))
    assert (facts.width, facts.height) == (240, 320)


def test_a_hand_made_file_is_measured() -> None:
    facts = measure(movie(track()))
    assert (facts.duration_ms, facts.frames, facts.fps, facts.width) == (1000, 2, 2.0, 64)
    assert not facts.has_audio
    assert measure(movie(track(), track(handler=b"soun"), mdat=bytes(16))).has_audio


def test_tracks_of_something_else_do_not_matter() -> None:
    other = track(handler=b"text", stsz=b"", chunks=b"")
    fragment = box(b"moof", box(b"traf", box(b"tfhd", table(0, 9))))
    assert measure(movie(track(), other) + fragment).frames == 2


def test_wide_sizes_are_read() -> None:
    data = movie(track(chunks=box(b"co64", table(0, 1, 0, 1008))))
    at = data.index(b"mdat") - 4
    wide = data[:at] + struct.pack(">I4sQ", 1, b"mdat", 24) + data[at + 8 :]
    assert measure(wide).frames == 2


# By ranges


async def test_ranges_give_the_same_facts_with_few_requests(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=120, size=(640, 480))
    data = path.read_bytes()
    asked: list[tuple[int, int]] = []

    async def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return data[offset : offset + length]

    assert await probe_mp4(read_at, len(data)) == probe_mp4_file(path)
    assert len(asked) == 1
    assert asked[0] == (0, min(READ_AHEAD_BYTES, len(data)))


async def test_an_index_at_the_end_costs_two_requests(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "crf": "0"}
    path = make_clip(tmp_path / "a.mp4", size=(640, 480), movflags="", options=options)
    data = path.read_bytes()
    asked: list[int] = []

    async def read_at(offset: int, length: int) -> bytes:
        asked.append(offset)
        return data[offset : offset + length]

    assert not (await probe_mp4(read_at, len(data))).faststart
    assert len(asked) == 2


async def test_a_server_that_sends_less_is_noticed(tmp_path: Path) -> None:
    data = make_clip(tmp_path / "a.mp4").read_bytes()

    async def read_at(offset: int, length: int) -> bytes:
        return data[offset : offset + length - 1]

    with pytest.raises(BadMedia, match="cut off"):
        await probe_mp4(read_at, len(data))


async def test_trouble_with_reading_passes_through() -> None:
    async def read_at(offset: int, length: int) -> bytes:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await probe_mp4(read_at, 5000)


# Not whole


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """At the seams between boxes as well as inside them."""
    for movflags in "+faststart", "", FRAGMENTED:
        path = make_clip(tmp_path / "a.mp4", frames=6, size=(64, 48), movflags=movflags)
        data = path.read_bytes()
        seam = data.index(b"mdat") - 4
        for end in {*range(0, len(data), 97), seam, seam + 1, seam + 8, len(data) - 1}:
            if movflags == FRAGMENTED and data[end + 4 : end + 8] == b"mfra":
                continue  # all samples are there: what is missing is an index to them
            with pytest.raises(BadMedia):
                measure(data[:end])


def test_bytes_after_the_end_are_noticed(tmp_path: Path) -> None:
    data = make_clip(tmp_path / "a.mp4", frames=2).read_bytes()
    for tail in b"x", bytes(7), bytes(8), bytes(100), b"\xff" * 100:
        with pytest.raises(BadMedia):
            measure(data + tail)


# Hostile

HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "zeros": lambda: bytes(1000),
    "text": lambda: b"<html>Not found</html>" * 10,
    "only a header": lambda: FTYP,
    "no ftyp": lambda: movie(track())[len(FTYP) :],
    "size 0": lambda: FTYP + struct.pack(">I4s", 0, b"mdat") + bytes(100),
    "size 7": lambda: FTYP + struct.pack(">I4s", 7, b"free") + bytes(100),
    "wide size 0": lambda: FTYP + struct.pack(">I4sQ", 1, b"free", 0) + bytes(100),
    "wide size 15": lambda: FTYP + struct.pack(">I4sQ", 1, b"free", 15) + bytes(100),
    "wide size 2^64-1": lambda: FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1) + bytes(100),
    "wide size cut off": lambda: FTYP + struct.pack(">I4sI", 1, b"mdat", 0),
    "too many boxes": lambda: FTYP + box(b"free") * TOP_BOXES_MAX + movie(track())[len(FTYP) :],
    "two indexes": lambda: movie(track(), extra=box(b"moov")),
    "great index": lambda: FTYP + box(b"moov", bytes(INDEX_BYTES_MAX)),
    "great fragments": lambda: movie(track()) + box(b"moof", bytes(INDEX_BYTES_MAX // 2)) * 3,
    "child beyond parent": lambda: FTYP + box(b"moov", struct.pack(">I4s", 99, b"trak")),
    "child of size 0": lambda: FTYP + box(b"moov", bytes(8)) + box(b"mdat"),
    "many children": lambda: FTYP + box(b"moov", box(b"free") * 2000) + box(b"mdat"),
    "empty index": lambda: FTYP + box(b"moov") + box(b"mdat"),
    "empty track": lambda: FTYP + box(b"moov", box(b"trak")) + box(b"mdat"),
    "many tracks": lambda: FTYP + box(b"moov", box(b"trak") * 65) + box(b"mdat"),
    "sound only": lambda: movie(track(handler=b"soun")),
    "no media data": lambda: movie(track())[: movie(track()).index(b"mdat") - 4],
    "too little media data": lambda: movie(track(), mdat=bytes(7)),
    "no time": lambda: movie(track(stts=table(0, 1, 2, 0))),
    "no timescale": lambda: movie(track(timescale=0)),
    "a year": lambda: movie(track(stts=table(0, 1, 2, 2**31))),
    "no samples": lambda: movie(track(stts=table(0, 0), stsz=table(0, 0, 0))),
    "times for others": lambda: movie(track(stts=table(0, 1, 3, 500))),
    "times beyond the box": lambda: movie(track(stts=table(0, 2**32 - 1, 2, 500))),
    "sizes beyond the box": lambda: movie(track(stsz=table(0, 0, 3, 4, 4))),
    "four thousand million samples": lambda: movie(
        track(stts=table(0, 1, 2**32 - 1, 1), stsz=table(0, 0, 2**32 - 1))
    ),
    "the same, of no bytes": lambda: movie(
        track(stts=table(0, 1, 2**32 - 1, 1), stsz=table(0, 1, 2**32 - 1))
    ),
    "chunk in the index": lambda: movie(track(chunks=box(b"stco", table(0, 1, 40)))),
    "chunk after the end": lambda: movie(track(chunks=box(b"stco", table(0, 1, 1008)))),
    "chunks missing": lambda: movie(track(chunks=b"")),
    "no size": lambda: movie(track(size=(0, 48))),
    "fragment of too many": lambda: (
        movie(track())
        + box(b"moof", box(b"traf", box(b"tfhd", table(0, 1)), box(b"trun", table(0, 2**32 - 1))))
    ),
    "fragment beyond its box": lambda: (
        movie(track())
        + box(b"moof", box(b"traf", box(b"tfhd", table(0, 1)), box(b"trun", table(0x300, 9, 1))))
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_bytes_are_refused_quickly(kind: str) -> None:
    data = HOSTILE[kind]()
    start = time.process_time()
    with pytest.raises(BadMedia) as refusal:
        measure(data)
    assert time.process_time() - start < 0.5
    assert len(str(refusal.value)) < 120


def test_the_most_work_that_a_file_can_make_is_bounded() -> None:
    """An index as big as allowed, made of the smallest fragments there are."""
    traf = box(b"traf", box(b"tfhd", table(0, 1)), box(b"trun", table(0, 0)))
    moof = box(b"moof", traf * 1024)
    data = movie(track()) + moof * (INDEX_BYTES_MAX // len(moof) - 1)
    start = time.process_time()
    assert measure(data).frames == 2
    assert time.process_time() - start < 10


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 2000), st.sampled_from([0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF])),
        min_size=1,
        max_size=8,
    )
)
def test_damaged_bytes_give_facts_or_bad_media(changes: list[tuple[int, int]]) -> None:
    data = bytearray(movie(track(), track(handler=b"soun"), mdat=bytes(16)))
    for at, value in changes:
        data[at % len(data)] = value
    try:
        facts = measure(bytes(data))
    except BadMedia:
        return
    assert facts.duration_ms >= 1 and facts.bytes == len(data)


def test_a_fragmented_file_may_only_say_its_length_in_the_header() -> None:
    """`mehd`, where no sample has a duration."""
    fragment = box(
        b"moof", box(b"traf", box(b"tfhd", table(0, 1)), box(b"trun", table(0x200, 2, 4, 4)))
    )
    mvex = box(b"mvex", box(b"mehd", table(0, 3000)))
    empty = track(stts=table(0, 0), stsz=table(0, 0, 0), chunks=box(b"stco", table(0, 0)))
    assert measure(movie(empty, mvex) + fragment).duration_ms == 3000
    with pytest.raises(BadMedia, match="how long"):
        measure(movie(empty) + fragment)


def test_fragments_take_their_defaults_from_the_header() -> None:
    run = box(b"trun", table(0, 5))
    fragment = box(b"moof", box(b"traf", box(b"tfhd", table(0, 1)), run))
    mvex = box(b"mvex", box(b"trex", table(0, 1, 1, 100, 1, 0)))
    empty = track(stts=table(0, 0), stsz=table(0, 0, 0), chunks=box(b"stco", table(0, 0)))
    facts = measure(movie(empty, mvex, mdat=bytes(10)) + fragment + fragment)
    assert (facts.duration_ms, facts.frames) == (1000, 10)


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match="no pictures"):
        probe_mp4_file(make_sound(tmp_path / "a.mp4"))
