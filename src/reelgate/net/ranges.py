"""Reading a file on somebody's server here and there, by range requests.

A server that does not serve ranges is read from its start on, forgetting what is skipped; a jump
back then begins anew. Both ways are bounded in requests and bytes, and a file that changes between
two requests is noticed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from reelgate.net.errors import TooLarge, Unreachable
from reelgate.net.stream import Pin, Stream, Want

BLOCK_BYTES = 64 * 1024

Fetch = Callable[[Want, str | None], Awaitable[Stream]]
"""Opens what is wanted, at the address where redirects ended last time, if there was one."""


@dataclass(slots=True)
class _Cursor:
    """A stream with a place in the file: bytes are taken or skipped, never given back."""

    stream: Stream
    chunks: AsyncIterator[bytes]
    place: int
    spare: bytes = b""

    async def next(self, count: int) -> bytes:
        """Up to `count` bytes, none at the end only."""
        if not self.spare:
            self.spare = await anext(self.chunks, b"")
        part, self.spare = self.spare[:count], self.spare[count:]
        self.place += len(part)
        return part


class RangeReader:
    """Random access to one version of one file; one reader at a time.

    `total_bytes` is None until the first read, and for a server that does not tell.
    """

    def __init__(self, fetch: Fetch, *, requests_max: int, bytes_max: int) -> None:
        self._fetch = fetch
        self._requests_left = requests_max
        self._bytes_max = bytes_max
        self._bytes_left = bytes_max
        self._blocks: list[tuple[int, bytes]] = []
        self._whole: _Cursor | None = None
        self._found_at: str | None = None
        self.pin: Pin | None = None
        self.total_bytes: int | None = None

    async def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, fewer only at the end of the file.

        Raises every DownloadFailed: TooLarge when the bytes, Unreachable when the requests are
        used up.
        """
        read = bytearray()
        while len(read) < length:
            place = offset + len(read)
            part = self._kept(place) or await self._load(place, length - len(read))
            if not part:
                break
            read += part[: length - len(read)]
        return bytes(read)

    async def close(self) -> None:
        """Let go of the connection of a server without ranges."""
        if self._whole is not None:
            self._whole.stream.close()
            self._whole = None

    def _kept(self, place: int) -> bytes:
        for start, block in self._blocks:
            if start <= place < start + len(block):
                return block[place - start :]
        return b""

    async def _load(self, place: int, length: int) -> bytes:
        """Fetch and keep a block that begins at `place`; empty at the end of the file."""
        if self.total_bytes is not None and place >= self.total_bytes:
            return b""
        length = max(length, BLOCK_BYTES)
        cursor = self._whole
        if cursor is None or cursor.place > place:
            await self.close()
            cursor = await self._request(place, place + length)
        try:
            while cursor.place < place and await self._take(cursor, place - cursor.place):
                pass
            block = bytearray()
            while len(block) < length and (part := await self._take(cursor, length - len(block))):
                block += part
        finally:
            if cursor is not self._whole:
                cursor.stream.close()
        if block:
            self._blocks.append((place, bytes(block)))
        return bytes(block)

    async def _request(self, place: int, end: int) -> _Cursor:
        if self._requests_left == 0:
            raise Unreachable("too many requests were needed to read the file")
        self._requests_left -= 1
        if self.total_bytes is not None:
            end = min(end, self.total_bytes)
        stream = await self._fetch(Want(offset=place, end=end, pin=self.pin), self._found_at)
        self._found_at = stream.url
        self.pin = self.pin or stream.pin
        if self.total_bytes is None:
            self.total_bytes = stream.pin.total_bytes
        cursor = _Cursor(stream, stream.chunks(), stream.offset)
        if not stream.partial:
            self._whole = cursor
        return cursor

    async def _take(self, cursor: _Cursor, count: int) -> bytes:
        part = await cursor.next(count)
        self._bytes_left -= len(part)
        if self._bytes_left < 0:
            raise TooLarge(self._bytes_max)
        return part
