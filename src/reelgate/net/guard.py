"""May we call this URL? Every URL that a customer or an upstream's answer named passes here.

Twice: its text is judged before anything is done with it, and the address is judged when the
socket is made, which is after every redirect and every trick of a name server. What is called is
built from the parts that were judged, never from the text that was given.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from reelgate.net.addresses import IPNetwork, is_local_name, why_not_public
from reelgate.net.errors import Redirected, Refused, Unreachable
from reelgate.net.ranges import RangeReader
from reelgate.net.session import AddressBlocked, Resolver, new_session
from reelgate.net.stream import Limits, Pin, Stream, Want, open_stream

DEFAULT_PORTS = {"https": 443, "http": 80}
_URL_SAFE = "%/:?@!$&'()*+,;=-._~[]"
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an operator allows. The defaults are for URLs that customers name.

    `allow_private_network` opens loopback, private and unique-local addresses, not link-local or
    metadata ones; `networks_allowed` opens exactly what it says. `ports` None: any.
    """

    allow_http: bool = False
    allow_private_network: bool = False
    networks_allowed: tuple[IPNetwork, ...] = ()
    ports: frozenset[int] | None = frozenset({80, 443, 8080, 8443})
    url_chars_max: int = 8192
    redirects_max: int = 4
    connections_max: int = 512
    connections_per_host_max: int = 32
    dns_threads_max: int = 16
    limits: Limits = field(default_factory=Limits)

    def blocks(self, address: str | IPv4Address | IPv6Address) -> bool:
        """Whether no connection may be made to this address."""
        why = why_not_public(
            address,
            allow_private_network=self.allow_private_network,
            networks_allowed=self.networks_allowed,
        )
        return why is not None


class Guard:
    """Fetches what somebody else named. One per policy; used from one event loop."""

    def __init__(
        self,
        policy: Policy,
        *,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = policy
        self._resolver = resolver or Resolver(policy.dns_threads_max)
        self._ssl_context = ssl_context
        self._session: aiohttp.ClientSession | None = None

    def check_url(self, url: str) -> None:
        """Raises Refused unless the text of `url` is allowed. Resolves nothing."""
        parse(url, self.policy)

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        offset: int = 0,
        pin: Pin | None = None,
        types: tuple[str, ...] = (),
        bytes_max: int | None = None,
    ) -> AsyncIterator[Stream]:
        """GET `url` from byte `offset` of the version `pin`. Raises every DownloadFailed.

        Start over when `Stream.offset` is not `offset`: the server sends the whole file again.
        """
        limits = self._limits(bytes_max)
        stream = await self._get(url, Want(offset=offset, pin=pin, types=types), limits)
        try:
            yield stream
        finally:
            stream.close()

    @asynccontextmanager
    async def reader(
        self,
        url: str,
        *,
        requests_max: int = 16,
        bytes_max: int | None = None,
        types: tuple[str, ...] = (),
    ) -> AsyncIterator[RangeReader]:
        """Read `url` here and there. `bytes_max` bounds the file and all that is transferred;
        the time limit of the policy is that of all reads together.
        """
        limits = self._limits(bytes_max)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.total_ms / 1000

        async def fetch(want: Want, found_at: str | None) -> Stream:
            left = replace(limits, total_ms=_ms_until(deadline))
            return await self._get(found_at or url, replace(want, types=types), left)

        reader = RangeReader(fetch, requests_max=requests_max, bytes_max=limits.bytes_max)
        try:
            yield reader
        finally:
            await reader.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._resolver.close()

    def _limits(self, bytes_max: int | None) -> Limits:
        limits = self.policy.limits
        return limits if bytes_max is None else replace(limits, bytes_max=bytes_max)

    async def _get(self, url: str, want: Want, limits: Limits) -> Stream:
        """Follow redirects by hand: each hop is judged like the first."""
        if self._session is None:
            self._session = new_session(
                connections_max=self.policy.connections_max,
                connections_per_host_max=self.policy.connections_per_host_max,
                resolver=self._resolver,
                socket_factory=self._socket,
                ssl_context=self._ssl_context,
            )
        deadline = asyncio.get_running_loop().time() + limits.total_ms / 1000
        here = parse(url, self.policy)
        for _ in range(self.policy.redirects_max + 1):
            left = replace(limits, total_ms=_ms_until(deadline))
            try:
                return await open_stream(self._session, here, want, left)
            except Redirected as answer:
                there = parse(answer.url, self.policy)
            if (here.scheme, there.scheme) == ("https", "http"):
                raise Refused("the server redirects from https to http")
            here = there
        raise Refused("the server redirects too often")

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """The last word, on the very address that is about to be connected to."""
        family, kind, protocol, _, address = info
        if self.policy.blocks(str(address[0])):
            raise AddressBlocked
        return socket.socket(family, kind, protocol)


def parse(url: str, policy: Policy) -> URL:
    """`url` taken apart, judged part by part and put together anew. Raises Refused."""
    if len(url) > policy.url_chars_max:
        raise Refused(f"a URL has at most {policy.url_chars_max} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise Refused("a URL has no spaces, backslashes or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("this is not a URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and policy.allow_http):
        raise Refused("a URL starts with https://" + (" or http://" if policy.allow_http else ""))
    if "@" in parts.netloc:
        raise Refused("a URL has no user name or password")
    host = _host(parts, policy)
    default = DEFAULT_PORTS[parts.scheme]
    port = default if port is None else port
    if port == 0 or (policy.ports is not None and port not in policy.ports):
        raise Refused("this port is not allowed in a URL")
    where = host if port == default else f"{host}:{port}"
    path = quote(parts.path, safe=_URL_SAFE) or "/"
    query = "?" + quote(parts.query, safe=_URL_SAFE) if parts.query else ""
    return URL(f"{parts.scheme}://{where}{path}{query}", encoded=True)


def _host(parts: SplitResult, policy: Policy) -> str:
    """The host in the one form that is both judged and called."""
    given = parts.hostname or ""
    if not given:
        raise Refused("a URL has a host name")
    if "[" in parts.netloc:
        return f"[{_literal(given, IPv6Address, policy)}]"
    try:
        host = URL.build(scheme="https", host=given).raw_host or ""
    except ValueError:
        raise Refused("the host name is not valid") from None
    labels = host.split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return str(_literal(host, IPv4Address, policy))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("the host name is not valid")
    if is_local_name(host) and not (policy.allow_private_network or policy.networks_allowed):
        raise Refused("the host is not a public one")
    return host


def _literal(
    text: str, kind: type[IPv4Address] | type[IPv6Address], policy: Policy
) -> IPv4Address | IPv6Address:
    """Only the canonical form: none of `127.1`, `0x7f.1`, `017700000001`, `127.0.0.1.`."""
    try:
        address = kind(text)
    except ValueError:
        raise Refused("the host is not a valid address") from None
    if policy.blocks(address):
        raise Refused("the host's address is not a public one")
    return address


def _ms_until(deadline: float) -> int:
    left = round((deadline - asyncio.get_running_loop().time()) * 1000)
    if left <= 0:
        raise Unreachable("no whole answer in time")
    return left
