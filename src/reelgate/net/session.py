"""How every outgoing connection is made: no proxy, no cookie, no redirect, no decompression.

The only file that knows aiohttp's exceptions; `translate` and `FAULTS` are the edge they stop at.
"""

import asyncio
import errno
import math
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from reelgate.net.errors import (
    CallFailed,
    DownloadFailed,
    NotReceived,
    Refused,
    Uncertain,
    Unreachable,
)

DNS_CACHE_SECONDS = 30
HEADERS = {"User-Agent": "Reelgate", "Accept": "*/*", "Accept-Encoding": "identity"}


class AddressBlocked(OSError):
    """A socket was to be opened to an address that policy refuses.

    An OSError, so that the next address of the same name is tried; always the same text, so that
    several of them stay one error, and so that no address leaks.
    """

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "address not allowed")


@dataclass(frozen=True, slots=True)
class Fault:
    """One family of errors: what it means, and whether it can only happen before sending."""

    kinds: tuple[type[BaseException], ...]
    before_sending: bool
    what: str


# The first row that fits decides. A row says `before_sending` only where aiohttp raises these
# nowhere else; what is in doubt counts as sent.
FAULTS: tuple[Fault, ...] = (
    Fault((aiohttp.ClientConnectorDNSError,), True, "the host name could not be resolved"),
    Fault((aiohttp.ClientConnectorCertificateError,), True, "the certificate is not valid"),
    Fault((aiohttp.ClientConnectorSSLError,), True, "the TLS handshake failed"),
    Fault((aiohttp.ClientConnectorError,), True, "no connection could be made"),
    Fault((aiohttp.ConnectionTimeoutError,), True, "no connection in time"),
    Fault((aiohttp.InvalidURL,), True, "the URL is not valid"),
    Fault((aiohttp.SocketTimeoutError,), False, "the server went silent"),
    Fault((TimeoutError,), False, "no whole answer in time"),
    Fault((aiohttp.ServerDisconnectedError,), False, "the server hung up"),
    Fault((aiohttp.ClientPayloadError,), False, "the answer was cut short"),
    Fault((aiohttp.ClientResponseError,), False, "the answer is not HTTP"),
    Fault((aiohttp.ClientError, OSError), False, "the connection broke"),
)
FOREIGN = (aiohttp.ClientError, OSError)  # TimeoutError is an OSError


def _fault(exc: BaseException) -> Fault:
    return next(fault for fault in FAULTS if isinstance(exc, fault.kinds))


def call_failed(exc: BaseException) -> CallFailed:
    """One of `FOREIGN`, raised by a request, as NotReceived or Uncertain."""
    fault = _fault(exc)
    return NotReceived(fault.what) if fault.before_sending else Uncertain(fault.what)


def download_failed(exc: BaseException) -> DownloadFailed:
    """One of `FOREIGN`, raised while fetching, as Refused or Unreachable."""
    if isinstance(exc, aiohttp.ClientConnectorError) and isinstance(exc.os_error, AddressBlocked):
        return Refused("the host's address is not a public one")
    return Unreachable(_fault(exc).what)


class Resolver(AbstractResolver):
    """getaddrinfo on threads of its own: a name server that hangs holds up nobody else."""

    def __init__(self, threads_max: int) -> None:
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="reelgate-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of `host`, in the system's order. Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
            )
        except UnicodeError as exc:  # a label that is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from exc
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Let go of the threads, without waiting for a look-up that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def new_session(
    *,
    connections_max: int,
    resolver: AbstractResolver,
    connections_per_host_max: int = 0,
    fresh_connections: bool = False,
    socket_factory: aiohttp.SocketFactoryType | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> aiohttp.ClientSession:
    """A session on the running loop. `fresh_connections`: none is ever used twice.

    The caller closes `resolver`, which sessions may share.
    """
    connector = aiohttp.TCPConnector(
        limit=connections_max,
        limit_per_host=connections_per_host_max,
        force_close=fresh_connections,
        resolver=resolver,
        ttl_dns_cache=DNS_CACHE_SECONDS,
        socket_factory=socket_factory,
        ssl=ssl_context or True,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        auto_decompress=False,
        trust_env=False,
    )


@lru_cache(maxsize=256)
def timeouts(total_ms: int, connect_ms: int, stall_ms: int) -> aiohttp.ClientTimeout:
    """Time limits of one request.

    Waiting for a free connection, the name, TCP and TLS share `connect_ms`, which always ends
    well before the whole does: so a plain TimeoutError means that the request was sent.
    """
    return aiohttp.ClientTimeout(
        total=total_ms / 1000,
        connect=min(connect_ms, total_ms * 3 // 4) / 1000,
        sock_read=stall_ms / 1000,
        ceil_threshold=math.inf,  # aiohttp would round up to whole seconds
    )
