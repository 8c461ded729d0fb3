"""HTTP by hand on a real loopback socket, so that it can go wrong at any byte.

A fake upstream is a `Wire` with its own `answer`. Faults stand in a queue and are used up by the
requests that come, in order: each says how much of a request is read, what is sent, and how the
connection ends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

REASONS = {200: "OK", 202: "Accepted", 206: "Partial Content", 302: "Found", 400: "Bad Request"}


@dataclass(frozen=True)
class Part:
    """One part of a multipart body."""

    name: str
    filename: str | None
    content_type: str | None
    value: bytes

    @property
    def text(self) -> str:
        return self.value.decode()


@dataclass(frozen=True)
class Request:
    """One whole request. Header names are lower case; the path is decoded."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        return json.loads(self.body)

    def parts(self) -> list[Part]:
        """The parts of a multipart body, in order."""
        boundary = self.headers["content-type"].partition("boundary=")[2].strip('"')
        found = []
        for chunk in self.body.split(f"--{boundary}".encode())[1:-1]:
            head, _, value = chunk.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (row.partition(":") for row in lines)}
            shown = dict(
                item.strip().split("=", 1)
                for item in headers["content-disposition"].split(";")
                if "=" in item
            )
            named = {key: text.strip('"') for key, text in shown.items()}
            found.append(
                Part(
                    named["name"],
                    named.get("filename"),
                    headers.get("content-type"),
                    value.removesuffix(b"\r\n"),
                )
            )
        return found


@dataclass(frozen=True)
class Reply:
    """One answer. A body that is not bytes is sent as JSON. `fault` is what goes wrong with it."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    def wire(self) -> bytes:
        """The answer as it goes over the wire."""
        body, headers = self.body, dict(self.headers)
        if self.status in {204, 304}:  # which have none
            body = b""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        headers.setdefault("Content-Length", str(len(body)))
        head = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Whatever')}"]
        head += [f"{name}: {value}" for name, value in headers.items() if value]
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


End = Literal["keep", "close", "reset", "hang"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    `read` bytes of it are read, None: all, in which case it is answered as usual. Of that answer,
    or of `instead`, `send` bytes go out, None: all. Then the connection ends as `end` says.
    """

    read: int | None = None
    instead: bytes | None = None
    send: int | None = None
    repeat: int = 1
    end: End = "close"


class Wire:
    """A server on 127.0.0.1. `requests` are those that were read whole."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.faults: deque[Fault] = deque()
        self.port = 0
        self._once: deque[Reply] = deque()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, request: Request) -> Reply:
        """What a working upstream answers."""
        return Reply(404, {"error": f"no route {request.path}"})

    def answer_once(self, reply: Reply) -> None:
        """Answer one request, whatever it is, with this instead."""
        self._once.append(reply)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._server is not None:
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
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection is kept."""
        first = await reader.readexactly(1)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.read is not None:
            await reader.readexactly(max(0, fault.read - 1))
            return await _go_wrong(fault, fault.instead or b"", writer)
        request = await _read_request(first, reader)
        self.requests.append(request)
        reply = self._once.popleft() if self._once else self.answer(request)
        fault, answer = fault or reply.fault, reply.wire()
        if fault is not None:
            return await _go_wrong(fault, fault.instead or answer, writer)
        writer.write(answer)
        await writer.drain()
        return request.headers.get("connection", "").lower() != "close"


async def _go_wrong(fault: Fault, answer: bytes, writer: asyncio.StreamWriter) -> bool:
    for _ in range(fault.repeat):
        writer.write(answer[: fault.send])
        await writer.drain()
    return await _end(fault.end, writer)


async def _read_request(first: bytes, reader: asyncio.StreamReader) -> Request:
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.strip().split("\r\n")
    method, target, _ = start.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


async def _end(end: End, writer: asyncio.StreamWriter) -> bool:
    match end:
        case "keep":
            return True
        case "hang":
            await asyncio.Event().wait()
        case "reset":
            linger = struct.pack("ii", 1, 0)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        case "close":
            writer.close()
    return False


def ranged(request: Request, data: bytes, etag: str, mime: str = "video/mp4") -> Reply:
    """Bytes with single ranges, `If-Range` and an ETag, as a bucket serves them."""
    headers = {"Content-Type": mime, "ETag": etag, "Accept-Ranges": "bytes"}
    wanted = request.headers.get("range", "")
    if not wanted.startswith("bytes=") or request.headers.get("if-range", etag) != etag:
        return Reply(200, data, headers)
    low, _, high = wanted.removeprefix("bytes=").partition("-")
    start, end = int(low), int(high) if high else len(data) - 1
    if start >= len(data):
        return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
    span = {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
    return Reply(206, data[start : end + 1], {**headers, **span})


# What becomes of the answer to one download.
Mishap = Callable[[Request, Reply], Reply]


class Bucket(Wire):
    """Where results lie: another host than the API, asking for no key.

    `mishaps` befall the downloads of a path, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.mishaps: dict[str, deque[Mishap]] = {}
        self.version = 1

    def put(self, name: str, data: bytes) -> str:
        """Keep `data` at a path; its URL."""
        path = f"/xai-vidgen-bucket/{name}"
        self.files[path] = data
        return self.url + path

    def answer(self, request: Request) -> Reply:
        data = self.files.get(request.path)
        if data is None:
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        good = ranged(request, data, f'"v{self.version}"')
        mishaps = self.mishaps.get(request.path)
        return mishaps.popleft()(request, good) if mishaps else good
