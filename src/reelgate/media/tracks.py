"""What an MP4's index says of its tracks, and what its fragments add to that."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from reelgate.media.boxes import Box
from reelgate.media.facts import BadMedia

_SAMPLES_MAX = 1_000_000
_TRACKS_MAX = 64
_VIDEO, _AUDIO = b"vide", b"soun"

# A fragment's flags say which optional fields there are: (flag, bytes), in the order they come.
_TFHD_BASE, _TFHD_DESCRIPTION, _TFHD_TICKS, _TFHD_BYTES = (0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)
_TRUN_OFFSET, _TRUN_FIRST = (0x1, 4), (0x4, 4)
_TRUN_TICKS, _TRUN_BYTES, _TRUN_FLAGS, _TRUN_SHIFT = 0x100, 0x200, 0x400, 0x800


@dataclass(slots=True)
class Track:
    """One track. `ticks` is its length in units of 1/`timescale` s, `bytes` all its samples'."""

    id: int
    handler: bytes
    timescale: int
    codec: str
    width: int
    height: int
    samples: int
    ticks: int
    bytes: int
    chunk_starts: Sequence[int]
    ticks_default: int = 0  # of a sample whose fragment does not say
    bytes_default: int = 0

    @property
    def is_video(self) -> bool:
        return self.handler == _VIDEO

    @property
    def is_audio(self) -> bool:
        return self.handler == _AUDIO


def read_tracks(moov: Box) -> list[Track]:
    """The index's tracks of pictures and sound; others are nobody's business. Raises BadMedia."""
    traks = moov.children(b"trak")
    if len(traks) > _TRACKS_MAX:
        raise BadMedia(f"the video has more than {_TRACKS_MAX} tracks")
    handlers = [bytes(trak.need(b"mdia", b"hdlr").body[8:12]) for trak in traks]
    tracks = [
        _read_track(trak, handler)
        for trak, handler in zip(traks, handlers, strict=True)
        if handler in (_VIDEO, _AUDIO)
    ]
    mvex = moov.find(b"mvex")
    for trex in mvex.children(b"trex") if mvex else ():
        for track in tracks:
            if track.id == trex.number(4, 4):
                track.ticks_default = trex.number(12, 4)
                track.bytes_default = trex.number(16, 4)
    return tracks


def declared_ticks(moov: Box, track: Track) -> int:
    """The length that a fragmented file's header claims, in the track's ticks; 0 if none."""
    mehd, mvhd = moov.find(b"mvex", b"mehd"), moov.find(b"mvhd")
    if mehd is None or mvhd is None:
        return 0
    length = mehd.number(4, 8 if mehd.version else 4)
    timescale = mvhd.number(20 if mvhd.version else 12, 4)
    return length * track.timescale // timescale if timescale else 0


def add_fragment(tracks: list[Track], moof: Box) -> None:
    """Add a fragment's samples to their tracks. Raises BadMedia."""
    for traf in moof.children(b"traf"):
        tfhd = traf.need(b"tfhd")
        track = next((t for t in tracks if t.id == tfhd.number(4, 4)), None)
        if track is None:
            continue
        at = 8 + _present(tfhd, _TFHD_BASE, _TFHD_DESCRIPTION)
        ticks, size = track.ticks_default, track.bytes_default
        if _present(tfhd, _TFHD_TICKS):
            ticks, at = tfhd.number(at, 4), at + 4
        if _present(tfhd, _TFHD_BYTES):
            size = tfhd.number(at, 4)
        for trun in traf.children(b"trun"):
            _add_run(track, trun, ticks, size)


def _add_run(track: Track, trun: Box, ticks: int, size: int) -> None:
    """Add one run of samples, each of this length and size unless the run has its own."""
    count = trun.number(4, 4)
    track.samples += count
    _check_count(track.samples)
    at = 8 + _present(trun, _TRUN_OFFSET, _TRUN_FIRST)
    columns = [
        flag for flag in (_TRUN_TICKS, _TRUN_BYTES, _TRUN_FLAGS, _TRUN_SHIFT) if trun.flags & flag
    ]
    table = trun.numbers(at, count * len(columns))
    totals = {flag: sum(table[n :: len(columns)]) for n, flag in enumerate(columns)}
    track.ticks += totals.get(_TRUN_TICKS, count * ticks)
    track.bytes += totals.get(_TRUN_BYTES, count * size)


def _read_track(trak: Box, handler: bytes) -> Track:
    tkhd, mdhd = trak.need(b"tkhd"), trak.need(b"mdia", b"mdhd")
    stbl = trak.need(b"mdia", b"minf", b"stbl")
    entry = stbl.need(b"stsd")
    samples, size = _sample_sizes(stbl.need(b"stsz"))
    if handler == _VIDEO:
        width, height = entry.number(8 + 32, 2), entry.number(8 + 34, 2)
    else:
        width = height = 0
    if _lies_on_its_side(tkhd):
        width, height = height, width
    return Track(
        id=tkhd.number(20 if tkhd.version else 12, 4),
        handler=handler,
        timescale=mdhd.number(20 if mdhd.version else 12, 4),
        codec=entry.number(8 + 4, 4).to_bytes(4, "big").decode("latin-1"),
        width=width,
        height=height,
        samples=samples,
        ticks=_ticks(stbl.need(b"stts"), samples),
        bytes=size,
        chunk_starts=_chunk_starts(stbl),
    )


def _sample_sizes(stsz: Box) -> tuple[int, int]:
    """How many samples there are, and their bytes altogether."""
    common, count = stsz.number(4, 4), stsz.number(8, 4)
    _check_count(count)
    return count, common * count if common else sum(stsz.numbers(12, count))


def _ticks(stts: Box, samples: int) -> int:
    table = stts.numbers(8, 2 * stts.number(4, 4))
    counts, lengths = table[::2], table[1::2]
    if sum(counts) != samples:
        raise BadMedia("the video's index is damaged: as many times as samples are needed")
    return sum(map(mul, counts, lengths))


def _chunk_starts(stbl: Box) -> Sequence[int]:
    """Offsets in the file at which the track's stretches of samples begin."""
    if stco := stbl.find(b"stco"):
        return stco.numbers(8, stco.number(4, 4))
    co64 = stbl.need(b"co64")
    return co64.numbers(8, co64.number(4, 4), 8)


def _lies_on_its_side(tkhd: Box) -> bool:
    """Whether the track's matrix turns it by a quarter, so that width and height swap."""
    at = 52 if tkhd.version else 40
    across, down = tkhd.number(at, 4), tkhd.number(at + 16, 4)
    return across == down == 0


def _check_count(samples: int) -> None:
    if samples > _SAMPLES_MAX:
        raise BadMedia(f"the video has more than {_SAMPLES_MAX} samples in a track")


def _present(box: Box, *fields: tuple[int, int]) -> int:
    """How many bytes those of these optional fields take that are there."""
    return sum(size for flag, size in fields if box.flags & flag)
