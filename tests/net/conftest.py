"""A public host, an inside host that must never be called, and certificates, all on loopback."""

import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from tests.net.servers import Conn, Server


async def _count_only(conn: Conn) -> None:
    await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")


@pytest.fixture
async def canary() -> AsyncIterator[Server]:
    """A server on 127.0.0.1 that counts connections; a guard must leave it at none."""
    async with Server(_count_only) as server:
        yield server


def _inside_address() -> str | None:
    for address, family in (("127.0.0.2", socket.AF_INET), ("::1", socket.AF_INET6)):
        with socket.socket(family) as sock:
            try:
                sock.bind((address, 0))
            except OSError:
                continue
            return address
    return None


@pytest.fixture
async def inside() -> AsyncIterator[Server]:
    """The same on another loopback address, for tests in which 127.0.0.1 plays a public host."""
    address = _inside_address()
    if address is None:
        pytest.skip("this machine has one loopback address only")
    async with Server(_count_only, host=address) as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server for `public.example.com` and 127.0.0.1 presents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("public.example.com", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A client that trusts that server."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
