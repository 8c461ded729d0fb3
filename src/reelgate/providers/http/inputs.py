"""A job's inputs as an upstream takes them: as a link, as a data URI, or as bytes to upload."""

import asyncio
import base64

from reelgate.net.errors import DownloadFailed
from reelgate.net.guard import Guard
from reelgate.providers.base import JobInput, Refused, Verdict

UNTYPED = "application/octet-stream"
# Above this, encoding would hold up the event loop for more than a millisecond.
INLINE_BYTES_MAX = 256 * 1024


class InputUnreachable(Exception):
    """An input that we were to upload could not be fetched; the message is safe to show."""

    def refusal(self) -> Refused:
        return Refused(Verdict.INPUT_UNREACHABLE, f"An input could not be fetched: {self}.")


async def loaded(source: JobInput) -> bytes:
    """The bytes that are ours. Raises what the job's `load` raises."""
    if source.load is None:
        raise ValueError("an input is a URL or can be loaded")
    return await source.load()


async def as_link(source: JobInput) -> str:
    """The input's own URL, or our bytes as a data URI."""
    if source.url is not None:
        return source.url
    data, mime = await loaded(source), source.mime or UNTYPED
    if len(data) <= INLINE_BYTES_MAX:
        return _data_uri(mime, data)
    return await asyncio.to_thread(_data_uri, mime, data)


async def as_bytes(source: JobInput, guard: Guard, bytes_max: int) -> tuple[bytes, str]:
    """Our bytes, or those behind the URL, and their type. Raises InputUnreachable."""
    if source.url is None:
        return await loaded(source), source.mime or UNTYPED
    fetched = bytearray()
    try:
        async with guard.open(source.url, bytes_max=bytes_max) as stream:
            async for chunk in stream.chunks():
                fetched += chunk
    except DownloadFailed as exc:
        raise InputUnreachable(str(exc)) from exc
    return bytes(fetched), source.mime or stream.content_type or UNTYPED


def _data_uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
