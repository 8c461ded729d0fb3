"""Servers that misbehave on purpose: raw bytes on a loopback socket, every request counted."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp.abc import AbstractResolver, ResolveResult


@dataclass(frozen=True)
class Request:
    """One whole request, as it arrived. Header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Conn:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> Request:
        """Read one request to its end. Raises IncompleteReadError when the client hangs up."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunked()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, target, headers, body)

    async def _chunked(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Conn], Awaitable[None]]
Answer = Callable[[Request], bytes]


@dataclass
class Server:
    """Runs `script` on every connection and closes it afterwards."""

    script: Script
    host: str = "127.0.0.1"
    port: int = 0
    ssl_context: ssl.SSLContext | None = None
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self.ssl_context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.script(Conn(reader, writer))
        finally:
            self._tasks.discard(task)
            writer.close()

    @property
    def url(self) -> str:
        scheme = "https" if self.ssl_context else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def answering(answer: Answer, **options: object) -> Server:
    """A server that answers each request on a kept connection with the bytes `answer` returns."""

    async def script(conn: Conn) -> None:
        while True:
            request = await conn.request()
            server.requests.append(request)
            await conn.send(answer(request))

    server = Server(script, **options)  # type: ignore[arg-type]
    return server


def reply(
    body: bytes = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
) -> bytes:
    """A whole HTTP answer; `length` overrides what Content-Length says, negative: none is sent."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    declared = len(body) if length is None else length
    if declared >= 0:
        lines.append(f"Content-Length: {declared}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


FILE = bytes(range(256)) * 400
"""What `file_answer` serves unless told otherwise."""


def file_answer(
    file: bytes = FILE, etag: str = '"v1"', *, ranges: bool = True
) -> Callable[[Request], bytes]:
    """A file server as RFC 9110 wants it."""

    def answer(request: Request) -> bytes:
        headers = {"ETag": etag, "Content-Type": "video/mp4; x=y"}
        wanted = request.headers.get("range")
        if not ranges or wanted is None or request.headers.get("if-range", etag) != etag:
            return reply(file, 200, headers)
        first, last = wanted.removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last or len(file)), len(file) - 1)
        if start >= len(file):
            return reply(b"no", 416, headers | {"Content-Range": f"bytes */{len(file)}"})
        headers |= {"Content-Range": f"bytes {start}-{end}/{len(file)}"}
        return reply(file[start : end + 1], 206, headers)

    return answer


async def hang(_conn: Conn) -> None:
    """Accept, and do nothing for ever."""
    await asyncio.Event().wait()


@dataclass
class FakeResolver(AbstractResolver):
    """Answers each look-up with the next of `answers`, the last one for ever."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(host)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=0)
            for a in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def free_port() -> int:
    """A port where nobody listens (any more)."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
