"""One GET answer as counted and timed bytes: for the guard and for configured upstreams alike."""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from reelgate.net.errors import (
    Changed,
    DownloadFailed,
    NotFound,
    Redirected,
    Refused,
    TooLarge,
    Unreachable,
    WrongType,
)
from reelgate.net.session import FOREIGN, download_failed, timeouts

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PERHAPS_LATER = frozenset({408, 425, 429})  # and every 5xx
UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(?:(\d{1,18})|\*)")
_LENGTH = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one download may take. `bytes_max` is the size of the whole file, not of a part."""

    bytes_max: int = 512 * 1024 * 1024
    connect_ms: int = 10_000
    stall_ms: int = 20_000
    total_ms: int = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What tells one version of a file from another: taken from one answer, held against others."""

    etag: str | None = None
    last_modified: str | None = None
    total_bytes: int | None = None

    def agrees(self, other: "Pin") -> bool:
        """False when anything that both know differs (the time only if no ETag decides)."""
        if self.total_bytes is not None and other.total_bytes not in {None, self.total_bytes}:
            return False
        if self.etag is not None and other.etag is not None:
            return self.etag == other.etag
        return self.last_modified is None or other.last_modified in {None, self.last_modified}

    @property
    def validator(self) -> str | None:
        """What `If-Range` may carry: a strong ETag or a date (RFC 9110, 13.1.5)."""
        if self.etag is not None:
            return None if self.etag.startswith("W/") else self.etag
        return self.last_modified


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Which bytes are wanted: from `offset` to `end` (exclusive, None: the rest) of `pin`.

    `types` are content types, or their beginnings up to the slash (`video/`); empty: any.
    """

    offset: int = 0
    end: int | None = None
    pin: Pin | None = None
    types: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """The request headers that say so."""
        if self.offset == 0 and self.end is None:
            return {}
        headers = {"Range": f"bytes={self.offset}-{'' if self.end is None else self.end - 1}"}
        if self.pin is not None and self.pin.validator is not None:
            headers["If-Range"] = self.pin.validator
        return headers


class Stream:
    """An open answer. `offset` is the place of its first byte in the file: what was asked for, or
    0 from a server that does not serve ranges (`partial` False). `length` is None when undeclared.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        offset: int,
        length: int | None,
        pin: Pin,
        bytes_max: int,
    ) -> None:
        self._response = response
        self._bytes_max = bytes_max
        self.url = str(response.url)
        self.partial = response.status != 200
        self.content_type = _content_type(response.headers)
        self.offset = offset
        self.length = length
        self.pin = pin

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, as they come, once. Raises TooLarge, and Unreachable when they end early."""
        if self.length == 0:
            return
        received = 0
        try:
            async for chunk in self._response.content.iter_any():
                received += len(chunk)
                if self.offset + received > self._bytes_max:
                    raise TooLarge(self._bytes_max)
                yield chunk
        except FOREIGN as exc:
            raise download_failed(exc) from exc
        if self.length is not None and received != self.length:
            raise Unreachable("the answer was cut short")

    def close(self) -> None:
        """Give the connection back, or close it if bytes are left on it."""
        self._response.release()


async def open_stream(
    session: aiohttp.ClientSession,
    url: URL,
    want: Want,
    limits: Limits,
    headers: Mapping[str, str] | None = None,
) -> Stream:
    """GET `url` without following redirects. The caller closes the stream.

    Raises every DownloadFailed: the status, the range, the pin, the type and the declared length
    are judged here, before the first byte of the body is read.
    """
    try:
        response = await session.get(
            url,
            headers={**(headers or {}), **want.headers()},
            allow_redirects=False,
            timeout=timeouts(limits.total_ms, limits.connect_ms, limits.stall_ms),
        )
    except FOREIGN as exc:
        raise download_failed(exc) from exc
    try:
        return _judged(response, want, limits)
    except DownloadFailed:
        response.close()
        raise


def _judged(response: aiohttp.ClientResponse, want: Want, limits: Limits) -> Stream:
    offset, length, total = _span(response, want)
    headers = response.headers
    pin = Pin(
        etag=headers.get("ETag"), last_modified=headers.get("Last-Modified"), total_bytes=total
    )
    if want.pin is not None and not want.pin.agrees(pin):
        raise Changed("the file is not the one of before")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise WrongType("the content is encoded, which was not asked for")
    content_type = _content_type(headers)
    if want.types and content_type not in UNTYPED and not content_type.startswith(want.types):
        raise WrongType("the content type is not one of those expected")
    if (total if total is not None else offset + (length or 0)) > limits.bytes_max:
        raise TooLarge(limits.bytes_max)
    return Stream(response, offset=offset, length=length, pin=pin, bytes_max=limits.bytes_max)


def _span(response: aiohttp.ClientResponse, want: Want) -> tuple[int, int | None, int | None]:
    """Offset and length of the body and length of the file, as the status and headers say."""
    status, headers = response.status, response.headers
    ranged = want.offset > 0 or want.end is not None
    if status == 200:
        length = _number(headers.get("Content-Length"))
        return 0, length, length
    if status == 206 and ranged:
        return _range_span(headers, want.offset)
    if status == 416 and ranged:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match and match[3] and int(match[3]) == want.offset:
            return want.offset, 0, want.offset  # all of it was there already
        raise Changed("the file is shorter than before")
    if status in REDIRECTS and "Location" in headers:
        raise Redirected(_absolute(response.url, headers["Location"]))
    if status in PERHAPS_LATER or status >= 500:
        raise Unreachable(
            f"the server answered {status}", status=status, retry_after_ms=retry_after_ms(headers)
        )
    if 400 <= status < 500:
        raise NotFound(status)
    raise Unreachable(f"the server answered {status}, which means nothing here", status=status)


def _range_span(headers: Mapping[str, str], offset: int) -> tuple[int, int, int | None]:
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not match or match[1] is None or int(match[1]) != offset or int(match[2]) < offset:
        raise Unreachable("the server answered another range than was asked for")
    total = _number(match[3])
    if total is not None and int(match[2]) >= total:
        raise Unreachable("the server answered a range beyond the end")
    return offset, int(match[2]) - offset + 1, total


def _absolute(base: URL, location: str) -> str:
    try:
        return urljoin(str(base), location)
    except ValueError:
        raise Refused("the server redirects to something that is not a URL") from None


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _LENGTH.fullmatch(text) else None


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """`Retry-After` in milliseconds; a date is measured against the answer's own `Date`."""
    text = headers.get("Retry-After", "").strip()
    if _LENGTH.fullmatch(text):
        return int(text) * 1000
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return max(0, round(wait.total_seconds()) * 1000)
