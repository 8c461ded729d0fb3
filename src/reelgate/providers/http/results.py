"""Opening results: with the operator's key on the configured host, and nowhere else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

from reelgate.net.client import Client
from reelgate.net.errors import Changed, DownloadFailed, NotFound, Redirected
from reelgate.net.guard import Guard
from reelgate.net.stream import Limits, Pin, Stream
from reelgate.providers.base import Download, FetchError, ResultChanged, ResultGone

VIDEO_TYPES = ("video/", "application/mp4")
HOPS_MAX = 3


@dataclass(frozen=True, slots=True)
class Results:
    """Opens results: with the operator's key on the configured host, and nowhere else.

    `base_url` has no slash at its end; `headers` are the credentials.
    """

    client: Client
    guard: Guard
    base_url: str
    headers: Mapping[str, str]

    @asynccontextmanager
    async def open(self, result: str, offset: int, etag: str | None) -> AsyncIterator[Download]:
        """Open a path on the configured host, or a URL, at a byte offset. Raises FetchError.

        A relay may name a link on itself that wants its key (sub2api#5678); every other URL goes
        through the guard, without it.
        """
        async with AsyncExitStack() as stack:
            try:
                stream = await self._find(stack, result, offset, _pin(etag))
            except DownloadFailed as exc:
                raise _fetch_error(exc) from exc
            pin = stream.pin
            tag = pin.etag or pin.last_modified
            yield Download(_chunks(stream), stream.offset, pin.total_bytes, tag)

    async def _find(
        self, stack: AsyncExitStack, result: str, offset: int, pin: Pin | None
    ) -> Stream:
        for _ in range(HOPS_MAX):
            path = result.removeprefix(self.base_url)
            if not path.startswith("/"):
                break
            path = quote(path, safe="%/:?@!$&'()*+,;=-._~")
            ours = self.client.stream(
                path,
                offset=offset,
                pin=pin,
                limits=Limits(),
                headers=self.headers,
                types=VIDEO_TYPES,
            )
            try:
                return await stack.enter_async_context(ours)
            except Redirected as elsewhere:
                result = elsewhere.url
        foreign = self.guard.open(result, offset=offset, pin=pin, types=VIDEO_TYPES)
        return await stack.enter_async_context(foreign)


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    try:
        async for chunk in stream.chunks():
            yield chunk
    except DownloadFailed as exc:
        raise _fetch_error(exc) from exc


def _pin(tag: str | None) -> Pin | None:
    """A `Download.etag` of before: an ETag, or the date that stood in for one."""
    if tag is None:
        return None
    return Pin(etag=tag) if tag.startswith(('"', "W/")) else Pin(last_modified=tag)


# A signed link that has run out is answered with any of these.
_GONE = frozenset({403, 404, 410})


def _fetch_error(exc: DownloadFailed) -> FetchError:
    if isinstance(exc, Changed):
        return ResultChanged(str(exc))
    if isinstance(exc, NotFound) and exc.status in _GONE:
        return ResultGone(str(exc))
    return FetchError(str(exc))
