"""Reads an MP4's structure from any place that can give ranges of bytes. Decodes nothing.

The file is an adversary's until it is proven whole: the sizes of its top-level boxes must add up
to its length, its index must be small, and the samples it lists must lie in the media data that
is there. `walk_mp4` says which bytes it wants and is sent them, so that one parser serves local
files and HTTP ranges. The layout of the boxes is that of ISO/IEC 14496-12.
"""

import os
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from reelgate.media.boxes import HEADER_BYTES_MAX, Box, parse_header
from reelgate.media.facts import BadMedia, VideoFacts
from reelgate.media.tracks import Track, add_fragment, declared_ticks, read_tracks

READ_AHEAD_BYTES = 16 * 1024  # one request, as a rule, for a short clip's whole index
INDEX_BYTES_MAX = 4 * 1024 * 1024  # hours of video; more would be seconds of work
TOP_BOXES_MAX = 2048  # and so about as many requests at most
DURATION_MS_MAX = 24 * 60 * 60 * 1000

Request = tuple[int, int]  # offset, length
Walk = Generator[Request, bytes, VideoFacts]


def walk_mp4(total: int) -> Walk:
    """Yields the (offset, length) it needs next, is sent those bytes, returns what it found.

    `total` is the file's length in bytes; nothing past it is asked for. Raises BadMedia for
    anything but one whole MP4 with a picture track.
    """
    layout = yield from _lay_out(_Window(total))
    if layout.moov is None:
        raise BadMedia("the video has no index: it is not an MP4, or was not finished")
    tracks = read_tracks(layout.moov)
    for moof in layout.fragments:
        add_fragment(tracks, moof)
    _check_samples(tracks, layout)
    video = next((track for track in tracks if track.is_video and track.samples), None)
    if video is None or not video.width or not video.height:
        raise BadMedia("the video has no pictures")
    if layout.fragments and not video.ticks:
        video.ticks = declared_ticks(layout.moov, video)
    duration_ms = _duration_ms(video)
    return VideoFacts(
        duration_ms=duration_ms,
        width=video.width,
        height=video.height,
        fps=round(video.samples * video.timescale / video.ticks, 3),
        codec=video.codec,
        frames=video.samples,
        has_audio=any(track.is_audio and track.samples for track in tracks),
        faststart=layout.moov_at < layout.mdats[0][0],
        bytes=total,
    )


async def probe_mp4(read_at: Callable[[int, int], Awaitable[bytes]], total: int) -> VideoFacts:
    """Measure an MP4 of `total` bytes through `read_at(offset, length)`.

    Raises BadMedia, and what `read_at` raises.
    """
    walk = walk_mp4(total)
    try:
        request = next(walk)
        while True:
            request = walk.send(await read_at(*request))
    except StopIteration as end:
        facts: VideoFacts = end.value
        return facts


def probe_mp4_file(path: Path) -> VideoFacts:
    """Measure an MP4 on disk. Raises BadMedia, OSError."""
    with path.open("rb") as file:
        walk = walk_mp4(os.fstat(file.fileno()).st_size)
        try:
            request = next(walk)
            while True:
                offset, length = request
                request = walk.send(os.pread(file.fileno(), length, offset))
        except StopIteration as end:
            facts: VideoFacts = end.value
            return facts


class _Window:
    """The bytes read last: headers that lie close together cost one request."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._start = 0
        self._bytes = b""

    def read(self, offset: int, length: int) -> Generator[Request, bytes, bytes]:
        """Bytes of the file. Raises BadMedia when it is shorter than it said."""
        if not self._start <= offset <= offset + length <= self._start + len(self._bytes):
            wanted = min(max(length, READ_AHEAD_BYTES), self.total - offset)
            self._bytes = yield offset, wanted
            self._start = offset
            if len(self._bytes) != wanted or wanted < length:
                raise BadMedia("the video is cut off")
        start = offset - self._start
        return self._bytes[start : start + length]


@dataclass(slots=True)
class _Layout:
    """Where things are; `mdats` are (start, end) of the media data's bytes, in order."""

    moov: Box | None = None
    moov_at: int = 0
    fragments: list[Box] = field(default_factory=list)
    mdats: list[tuple[int, int]] = field(default_factory=list)


def _lay_out(window: _Window) -> Generator[Request, bytes, _Layout]:
    """Go from top-level box to box, from the first byte to exactly the last."""
    layout = _Layout()
    at = index_bytes = 0
    for number in range(TOP_BOXES_MAX):
        if at == window.total:
            return layout
        head = parse_header((yield from window.read(at, min(HEADER_BYTES_MAX, window.total - at))))
        if number == 0 and head.kind != b"ftyp":
            raise BadMedia("this is not an MP4")
        if at + head.bytes > window.total:
            raise BadMedia(f"the video is cut off: {window.total} bytes of {at + head.bytes}")
        start, end = at + head.header_bytes, at + head.bytes
        if head.kind == b"mdat":
            layout.mdats.append((start, end))
        elif head.kind in (b"moov", b"moof"):
            index_bytes += head.bytes
            if index_bytes > INDEX_BYTES_MAX:
                raise BadMedia(f"the video's index is bigger than {INDEX_BYTES_MAX} bytes")
            box = Box(head.kind, memoryview((yield from window.read(start, end - start))))
            if head.kind == b"moof":
                layout.fragments.append(box)
            elif layout.moov is not None:
                raise BadMedia("the video has two indexes")
            else:
                layout.moov, layout.moov_at = box, at
        at = end
    raise BadMedia(f"the video has more than {TOP_BOXES_MAX} top-level boxes")


def _check_samples(tracks: list[Track], layout: _Layout) -> None:
    """Every sample's bytes must be there."""
    there = sum(end - start for start, end in layout.mdats)
    if sum(track.bytes for track in tracks) > there or not layout.mdats:
        raise BadMedia("the video is cut off: it has less media data than its index lists")
    starts = [start for start, _ in layout.mdats]
    for track in tracks:
        for offset in track.chunk_starts:
            nearest = bisect_right(starts, offset) - 1
            if nearest < 0 or offset >= layout.mdats[nearest][1]:
                raise BadMedia("the video is damaged: its index points outside its media data")


def _duration_ms(video: Track) -> int:
    """Rounded milliseconds. Raises BadMedia when they can't be known or believed."""
    if not video.timescale or not video.ticks:
        raise BadMedia("the video does not say how long it is")
    duration_ms = (video.ticks * 1000 + video.timescale // 2) // video.timescale
    if not 1 <= duration_ms <= DURATION_MS_MAX:
        raise BadMedia("the video says that it is longer than a day, or has no length at all")
    return duration_ms
