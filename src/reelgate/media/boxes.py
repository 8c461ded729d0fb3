"""MP4 boxes in memory: a size, four letters, and what is inside. All reads are checked."""

import sys
from array import array
from typing import NamedTuple

from reelgate.media.facts import BadMedia

HEADER_BYTES_MAX = 16
_CHILDREN_MAX = 1024
_LARGE = 1  # a size of 1 means that the real one follows in 64 bits


class Header(NamedTuple):
    """The start of a box: its name, and bytes of the header and of the whole."""

    kind: bytes
    header_bytes: int
    bytes: int


class Box(NamedTuple):
    """One box and its contents, without the header. Numbers are big-endian."""

    kind: bytes
    body: memoryview

    def number(self, at: int, size: int) -> int:
        """An unsigned number of this many bytes. Raises BadMedia past the end."""
        if at + size > len(self.body):
            raise BadMedia("the video's index is damaged: a box is too short")
        return int.from_bytes(self.body[at : at + size], "big")

    @property
    def version(self) -> int:
        return self.number(0, 1)

    @property
    def flags(self) -> int:
        return self.number(1, 3)

    def numbers(self, at: int, count: int, size: int = 4) -> "array[int]":
        """This many numbers of 4 or 8 bytes each. Raises BadMedia when fewer are there."""
        end = at + count * size
        if end > len(self.body):
            raise BadMedia("the video's index is damaged: a table is shorter than it says")
        found = array("I" if size == 4 else "Q")
        found.frombytes(self.body[at:end])
        if sys.byteorder == "little":
            found.byteswap()
        return found

    def children(self, kind: bytes | None = None) -> list["Box"]:
        """The boxes directly inside, or those of one kind."""
        found: list[Box] = []
        at = 0
        while at < len(self.body):
            head = parse_header(bytes(self.body[at : at + HEADER_BYTES_MAX]))
            if at + head.bytes > len(self.body):
                raise BadMedia("the video's index is damaged: a box is bigger than its parent")
            if len(found) == _CHILDREN_MAX:
                raise BadMedia(f"the video's index has more than {_CHILDREN_MAX} boxes in one")
            found.append(Box(head.kind, self.body[at + head.header_bytes : at + head.bytes]))
            at += head.bytes
        return [box for box in found if kind in (None, box.kind)]

    def find(self, *path: bytes) -> "Box | None":
        """The first box down this path."""
        box: Box | None = self
        for kind in path:
            box = next(iter(box.children(kind)), None) if box else None
        return box

    def need(self, *path: bytes) -> "Box":
        """The first box down this path. Raises BadMedia when there is none."""
        box = self.find(*path)
        if box is None:
            raise BadMedia(f"the video's index is damaged: no {path[-1].decode('latin-1')} box")
        return box


def parse_header(data: bytes) -> Header:
    """The header that these up to 16 bytes begin with. Raises BadMedia if there is none."""
    if len(data) < 8:
        raise BadMedia("the video is cut off or has stray bytes at its end")
    size, kind, header = int.from_bytes(data[:4], "big"), data[4:8], 8
    if size == _LARGE and len(data) == HEADER_BYTES_MAX:
        size, header = int.from_bytes(data[8:], "big"), HEADER_BYTES_MAX
    if size < header:  # 0 would be "to the end", and then nothing tells whether all is there
        raise BadMedia("the video has a box without a usable size")
    return Header(kind, header, size)
