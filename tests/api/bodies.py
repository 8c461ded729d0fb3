"""Request bodies as clients write them, and the ASGI channel that they come in by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx

from reelgate.api.body import read_body
from reelgate.api.forms import BodyLimits

LIMITS = BodyLimits()
# A one-pixel picture's first bytes: what is uploaded here is never decoded.
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 24
MP4 = b"\x00\x00\x00\x20ftypisom" + b"\x00" * 24

Body = tuple[bytes, str]
Pair = tuple[str, Any]


def as_json(fields: Any) -> Body:
    return json.dumps(fields, ensure_ascii=False).encode(), "application/json"


def as_multipart(pairs: Iterable[Pair]) -> Body:
    """Text fields and `(filename, bytes, content type)` files, in the given order."""
    parts = [(name, value if isinstance(value, tuple) else (None, value)) for name, value in pairs]
    request = httpx.Request("POST", "http://test", files=parts)
    return request.read(), request.headers["content-type"]


def as_urlencoded(pairs: Iterable[Pair]) -> Body:
    return urlencode(list(pairs)).encode(), "application/x-www-form-urlencoded"


def bracketed(fields: dict[str, Any], prefix: str = "") -> Iterator[Pair]:
    """Nested fields as the OpenAI SDKs put them into a form: `a[b]`, `a[]`, `a[][x]`."""
    for name, value in fields.items():
        key = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, dict):
            yield from bracketed(value, key)
        elif isinstance(value, list):
            for entry in value:
                if isinstance(entry, dict):
                    yield from bracketed(entry, f"{key}[]")
                else:
                    yield f"{key}[]", entry if isinstance(entry, tuple) else str(entry)
        else:
            yield key, value if isinstance(value, tuple) else str(value)


class Channel:
    """One request's ASGI side: headers, and the body in the chunks it is given."""

    def __init__(self, chunks: Iterable[bytes], headers: dict[str, str]) -> None:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.scope: dict[str, Any] = {"type": "http", "headers": [(b"host", b"test"), *raw]}
        self._messages = self._body(iter(chunks))
        self.taken_bytes = 0

    def _body(self, chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        waiting = next(chunks, b"")
        for chunk in chunks:
            yield {"type": "http.request", "body": waiting, "more_body": True}
            waiting = chunk
        yield {"type": "http.request", "body": waiting, "more_body": False}

    async def receive(self) -> dict[str, Any]:
        message = next(self._messages, {"type": "http.disconnect"})
        self.taken_bytes += len(message.get("body", b""))
        return message


def channel(body: bytes, content_type: str | None, chunk_bytes: int = 64 * 1024) -> Channel:
    """A body with its length declared, as every usual client sends it."""
    headers = {"content-length": str(len(body))}
    if content_type is not None:
        headers["content-type"] = content_type
    chunks = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    return Channel(chunks, headers)


async def read(
    body: bytes, content_type: str | None, limits: BodyLimits = LIMITS, **how: Any
) -> dict[str, Any]:
    """What the gateway makes of a body."""
    one = channel(body, content_type, **how)
    return await read_body(one.scope, one.receive, limits)
