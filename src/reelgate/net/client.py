"""Requests to an upstream that the operator configured: any address, no guard, no redirect.

What matters here is to know, when no answer comes, whether the request can have been received.
"""

import io
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from reelgate.net.errors import Uncertain
from reelgate.net.session import FOREIGN, Resolver, call_failed, new_session, timeouts
from reelgate.net.stream import Limits, Pin, Stream, Want, open_stream, retry_after_ms

# aiohttp itself sends a GET, HEAD, PUT or DELETE a second time when its connection dies unanswered;
# a POST never.
REPEATABLE = frozenset({"GET", "HEAD"})
JSON = {"Content-Type": "application/json"}
INLINE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, whatever its status. `headers` are found in any letter case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_ms(self) -> int | None:
        """How long the server asks to be left alone."""
        return retry_after_ms(self.headers)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart form: text is a field, bytes are a file."""

    name: str
    value: str | bytes
    filename: str | None = None
    content_type: str | None = None


class Client:
    """One upstream's connections: a hung upstream fills its own, never another's.

    Used from one event loop. Times are milliseconds; a request's time includes waiting for one of
    `connections_max` connections.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections_max: int = 100,
        connect_ms: int = 10_000,
        reply_bytes_max: int = 4 * 1024 * 1024,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._connections_max = connections_max
        self._connect_ms = connect_ms
        self._reply_bytes_max = reply_bytes_max
        self._resolver = resolver or Resolver(threads_max=2)
        self._ssl_context = ssl_context
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def request(
        self,
        method: str,
        path: str,
        *,
        timeout_ms: int,
        headers: Mapping[str, str] | None = None,
        json_body: bytes | None = None,
        parts: Sequence[Part] = (),
        reply_bytes_max: int | None = None,
    ) -> Reply:
        """Send `json_body`, or `parts` as a multipart form, once, and read the whole answer.

        `path` is percent-encoded already. Raises NotReceived or Uncertain; an answer longer than
        `reply_bytes_max`, or compressed though that was not asked for, is Uncertain.
        """
        bytes_max = self._reply_bytes_max if reply_bytes_max is None else reply_bytes_max
        try:
            async with self._session(fresh=method not in REPEATABLE).request(
                method,
                self._url(path),
                data=_form(parts) if parts else _payload(json_body),
                headers=headers if json_body is None else {**JSON, **(headers or {})},
                allow_redirects=False,
                timeout=timeouts(timeout_ms, self._connect_ms, timeout_ms),
            ) as response:
                return Reply(response.status, response.headers, await _read(response, bytes_max))
        except FOREIGN as exc:
            raise call_failed(exc) from exc

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        offset: int = 0,
        pin: Pin | None = None,
        limits: Limits,
        headers: Mapping[str, str] | None = None,
        types: tuple[str, ...] = (),
    ) -> AsyncIterator[Stream]:
        """GET bytes from `offset` of the version `pin` on. Raises every DownloadFailed.

        A redirect is not followed, so that `headers` go nowhere else: it raises Redirected, whose
        URL was named by the upstream and is the guard's to open, without them.
        """
        want = Want(offset=offset, pin=pin, types=types)
        session = self._session(fresh=False)
        stream = await open_stream(session, self._url(path), want, limits, headers)
        try:
            yield stream
        finally:
            stream.close()

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        await self._resolver.close()

    def _url(self, path: str) -> URL:
        return URL(self._base + path, encoded=True)

    def _session(self, *, fresh: bool) -> aiohttp.ClientSession:
        """What must not be sent twice gets a connection of its own.

        A kept connection that the server closes at the same moment can't be told from one that
        took the request: a stranded task costs more than a handshake.
        """
        session = self._sessions.get(fresh)
        if session is None:
            session = self._sessions[fresh] = new_session(
                connections_max=self._connections_max,
                fresh_connections=fresh,
                resolver=self._resolver,
                ssl_context=self._ssl_context,
            )
        return session


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """Big bodies go out in pieces, which leaves the event loop its breath."""
    return body if body is None or len(body) <= INLINE_BYTES_MAX else io.BytesIO(body)


def _form(parts: Sequence[Part]) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for part in parts:
        form.add_field(
            part.name,
            io.BytesIO(part.value) if isinstance(part.value, bytes) else part.value,
            filename=part.filename,
            content_type=part.content_type,
        )
    return form


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Uncertain("the answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise Uncertain(f"the answer is larger than {bytes_max} bytes")
    return bytes(body)
