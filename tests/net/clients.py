"""Guards and clients for tests, closed at the end, with limits that tests can wait for."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp.abc import AbstractResolver

from reelgate.net.client import Client
from reelgate.net.guard import Guard, Policy
from reelgate.net.stream import Limits, Pin

LIMITS = Limits(bytes_max=200_000, connect_ms=2_000, stall_ms=2_000, total_ms=5_000)
# Any port and plain HTTP: what is left to refuse a URL is its host.
OPEN_PORTS = Policy(allow_http=True, ports=None, limits=LIMITS)
# 127.0.0.1 plays a public host.
STAND_IN = replace(OPEN_PORTS, networks_allowed=(ipaddress.ip_network("127.0.0.1/32"),))


@asynccontextmanager
async def guarding(
    policy: Policy = STAND_IN,
    *,
    limits: Limits | None = None,
    resolver: AbstractResolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Guard]:
    policy = policy if limits is None else replace(policy, limits=limits)
    guard = Guard(policy, resolver=resolver, ssl_context=ssl_context)
    try:
        yield guard
    finally:
        await guard.close()


async def fetch(
    guard: Guard, url: str, offset: int = 0, pin: Pin | None = None, bytes_max: int | None = None
) -> bytes:
    async with guard.open(url, offset=offset, pin=pin, bytes_max=bytes_max) as stream:
        assert stream.offset == offset
        return b"".join([chunk async for chunk in stream.chunks()])


@asynccontextmanager
async def calling(
    base_url: str,
    *,
    connections_max: int = 10,
    connect_ms: int = 2_000,
    reply_bytes_max: int = 100_000,
    resolver: AbstractResolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    client = Client(
        base_url,
        connections_max=connections_max,
        connect_ms=connect_ms,
        reply_bytes_max=reply_bytes_max,
        resolver=resolver,
        ssl_context=ssl_context,
    )
    try:
        yield client
    finally:
        await client.close()
