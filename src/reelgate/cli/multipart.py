"""A `multipart/form-data` body that is streamed from files and knows its length."""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

_CHUNK_BYTES = 256 * 1024

# A field with a text, or with the bytes of a file.
Field = tuple[str, str | Path]


class MultipartBody:
    """The fields in their order. Can be iterated again, for another attempt."""

    def __init__(self, fields: Sequence[Field]) -> None:
        boundary = f"reelgate-{secrets.token_hex(16)}"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._parts = [(_head(boundary, name, value), value) for name, value in fields]
        self._end = f"--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        parts = sum(len(head) + _length(value) + 2 for head, value in self._parts)
        return parts + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        for head, value in self._parts:
            yield head
            if isinstance(value, str):
                yield value.encode()
            else:
                with value.open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        yield chunk
            yield b"\r\n"
        yield self._end


def _head(boundary: str, name: str, value: str | Path) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
    if isinstance(value, Path):
        # The gateway looks at the bytes; the name is for its logs at most.
        head += '; filename="upload"\r\nContent-Type: application/octet-stream'
    return f"{head}\r\n\r\n".encode()


def _length(value: str | Path) -> int:
    return len(value.encode()) if isinstance(value, str) else value.stat().st_size
