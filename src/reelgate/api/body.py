"""A write request's body, in any of three encodings, as one nested plain structure.

What comes out is made of dict, list, str, int, float, bool, None and `Upload`. Limits are
enforced while the bytes arrive, on the raw ASGI channel.
"""

import asyncio
from enum import Enum
from typing import Any, assert_never

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from reelgate.api.forms import BodyLimits, MultipartReader, nest, urlencoded_pairs
from reelgate.api.json_text import decode_json
from reelgate.domain.errors import Code, Refusal

# Above this a body is parsed in a thread: other requests must not wait for it.
LARGE_BYTES = 256 * 1024
_MIB = 1024 * 1024
_EXAMPLE = '{"model": "grok-imagine", "prompt": "…", "duration": 6}'


class _Encoding(Enum):
    JSON = "application/json"
    MULTIPART = "multipart/form-data"
    URLENCODED = "application/x-www-form-urlencoded"


_BY_CONTENT_TYPE = {encoding.value.encode(): encoding for encoding in _Encoding}


class Inflow:
    """A body on its way in: never more of it than is allowed in all."""

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits) -> None:
        self.content_type = self.content_encoding = b""
        self.declared_bytes = 0
        self.chunked = False
        for name, value in scope["headers"]:
            if name == b"content-type":
                self.content_type = value
            elif name == b"content-length" and value.isdigit():
                self.declared_bytes = int(value)
            elif name == b"content-encoding":
                self.content_encoding = value
            elif name == b"transfer-encoding":
                self.chunked = True
        self.ended = False
        self._receive = receive
        self._bytes_left = limits.request_bytes_max
        self._limits = limits

    async def chunk(self) -> bytes | None:
        """What came in next, None at the end.

        Raises Refusal (`request_too_large`, and `invalid_value` when nothing comes any more),
        and ClientDisconnect.
        """
        if self.ended:
            return None
        if self.declared_bytes > self._limits.request_bytes_max:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.idle_s_max):
                message = await self._receive()
        except TimeoutError:
            raise self._stalled() from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self.ended = not message.get("more_body", False)
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            raise self._too_large()
        return chunk

    async def whole(self) -> bytes | bytearray:
        """All of it; a body that comes in one piece is not copied."""
        first = await self.chunk() or b""
        if self.ended:
            return first
        body = bytearray(first)
        while (chunk := await self.chunk()) is not None:
            body += chunk
        return body

    def _stalled(self) -> Refusal:
        return Refusal(
            Code.INVALID_VALUE,
            f"The request body is not complete, and nothing more of it came for "
            f"{self._limits.idle_s_max:g} s. Nothing was created; send the request again.",
            headers={"connection": "close"},
        )

    def _too_large(self) -> Refusal:
        return Refusal(
            Code.REQUEST_TOO_LARGE,
            f"The request body has more than {self._limits.request_bytes_max // _MIB} MiB, the "
            "most taken. Send large media as links.",
            headers={"connection": "close"},
        )


async def read_body(scope: Scope, receive: Receive, limits: BodyLimits) -> dict[str, Any]:
    """The fields of a JSON object or of a form.

    Raises Refusal (`invalid_json`, `invalid_value`, `conflicting_parameters`,
    `request_too_large`, `unsupported_media_type`), and starlette's `ClientDisconnect` when the
    client goes away in the middle: then nobody is left to answer.
    """
    inflow = Inflow(scope, receive, limits)
    try:
        encoding, boundary = _encoding(inflow)
        match encoding:
            case _Encoding.JSON:
                return await _read_json(inflow)
            case _Encoding.MULTIPART:
                return await _read_multipart(inflow, boundary, limits)
            case _Encoding.URLENCODED:
                return await _read_urlencoded(inflow, limits)
            case _:
                assert_never(encoding)
    except Refusal as refusal:
        if inflow.chunked and not inflow.ended:
            # Nobody knows how much is still to come: it must not be waited for.
            refusal.headers["connection"] = "close"
        raise


def _encoding(inflow: Inflow) -> tuple[_Encoding, bytes]:
    """How the body is written, and the boundary of a multipart one. No type at all is JSON."""
    if inflow.content_encoding not in {b"", b"identity"}:
        raise Refusal(
            Code.UNSUPPORTED_MEDIA_TYPE,
            "Compressed request bodies are not taken: send it without Content-Encoding.",
        )
    content_type = inflow.content_type or b"application/json"
    boundary = b""
    encoding = _BY_CONTENT_TYPE.get(content_type)
    if encoding is None or encoding is _Encoding.MULTIPART:
        media_type, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        encoding = _BY_CONTENT_TYPE.get(media_type)
    if encoding is None:
        given = content_type[:100].decode("latin-1")
        allowed = ", ".join(known.value for known in _Encoding)
        raise Refusal(
            Code.UNSUPPORTED_MEDIA_TYPE, f"Content-Type {given!r} is not taken: use {allowed}."
        )
    if encoding is _Encoding.MULTIPART and not boundary:
        raise Refusal(
            Code.INVALID_VALUE,
            "Content-Type multipart/form-data has no boundary. Leave Content-Type unset and let "
            "the HTTP client write it.",
        )
    return encoding, boundary


async def _read_json(inflow: Inflow) -> dict[str, Any]:
    body = await inflow.whole()
    if len(body) > LARGE_BYTES:
        value = await asyncio.to_thread(decode_json, body)
    elif body:
        value = decode_json(body)
    else:
        raise Refusal(Code.INVALID_JSON, f"The request body is empty. Send JSON such as {_EXAMPLE}")
    if not isinstance(value, dict):
        raise Refusal(
            Code.INVALID_JSON, f"The request body must be a JSON object such as {_EXAMPLE}"
        )
    return value


async def _read_multipart(inflow: Inflow, boundary: bytes, limits: BodyLimits) -> dict[str, Any]:
    reader = MultipartReader(boundary, limits)
    while (chunk := await inflow.chunk()) is not None:
        reader.feed(chunk)
    return nest(reader.finish(), limits)


async def _read_urlencoded(inflow: Inflow, limits: BodyLimits) -> dict[str, Any]:
    body = await inflow.whole()
    if len(body) > LARGE_BYTES:
        pairs = await asyncio.to_thread(urlencoded_pairs, body, limits)
    else:
        pairs = urlencoded_pairs(body, limits)
    return nest(pairs, limits)
