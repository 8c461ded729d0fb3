"""Bytes from somebody's server: counted, timed, resumed, and never taken on trust."""

import asyncio
import gzip
from contextlib import aclosing
from dataclasses import replace

import pytest

from reelgate.net.errors import (
    Changed,
    DownloadFailed,
    NotFound,
    TooLarge,
    Unreachable,
    WrongType,
)
from reelgate.net.stream import Pin, retry_after_ms
from tests.net.clients import LIMITS, fetch, guarding
from tests.net.servers import (
    FILE,
    Conn,
    FakeResolver,
    Server,
    answering,
    file_answer,
    free_port,
    hang,
    reply,
)


async def test_a_whole_file() -> None:
    async with answering(file_answer()) as server, guarding() as guard:
        async with guard.open(server.url, types=("video/", "image/png")) as stream:
            assert (stream.partial, stream.offset, stream.length) == (False, 0, len(FILE))
            assert stream.pin == Pin(etag='"v1"', total_bytes=len(FILE))
            assert stream.content_type == "video/mp4"
            assert b"".join([chunk async for chunk in stream.chunks()]) == FILE
        assert await fetch(guard, server.url) == FILE
        assert server.connections == 1, "connections are kept"


async def test_resume_at_an_offset() -> None:
    async with answering(file_answer()) as server, guarding() as guard:
        pin = Pin(etag='"v1"', total_bytes=len(FILE))
        assert await fetch(guard, server.url, 1000, pin) == FILE[1000:]
        assert server.requests[0].headers["range"] == "bytes=1000-"
        assert server.requests[0].headers["if-range"] == '"v1"'
        assert await fetch(guard, server.url, len(FILE) - 1) == FILE[-1:]
        assert await fetch(guard, server.url, len(FILE), pin) == b"", "416 at the end: all is there"
        with pytest.raises(Changed):
            await fetch(guard, server.url, len(FILE) + 1)


async def test_a_server_without_ranges_sends_all_of_it_again() -> None:
    async with (
        answering(file_answer(ranges=False)) as server,
        guarding() as guard,
        guard.open(server.url, offset=1000, pin=Pin(etag='"v1"')) as stream,
    ):
        assert (stream.offset, stream.partial) == (0, False)


@pytest.mark.parametrize(
    ("pin", "changed"),
    [
        (Pin(etag='"v1"'), False),
        (Pin(etag='"v0"'), True),
        (Pin(etag='W/"v1"'), True),
        (Pin(etag='"v1"', total_bytes=1), True),
        (Pin(last_modified="Mon, 02 Jan 2006 15:04:05 GMT"), False),
        (Pin(), False),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
async def test_a_file_that_changed(pin: Pin, changed: bool, ranges: bool) -> None:
    async with answering(file_answer(ranges=ranges)) as server, guarding() as guard:
        if changed:
            with pytest.raises(Changed):
                await fetch(guard, server.url, 10, pin)
        else:
            async with guard.open(server.url, offset=10, pin=pin) as stream:
                assert stream.offset == (10 if ranges and pin.last_modified is None else 0)


def test_pins() -> None:
    old, new = "Mon, 02 Jan 2006 15:04:05 GMT", "Tue, 03 Jan 2006 15:04:05 GMT"
    assert not Pin(last_modified=old).agrees(Pin(last_modified=new))
    assert Pin(etag='"a"', last_modified=old).agrees(Pin(etag='"a"', last_modified=new))
    assert not Pin(etag='"a"', last_modified=old).agrees(Pin(last_modified=new))
    assert Pin(total_bytes=5).agrees(Pin())
    assert not Pin(total_bytes=5).agrees(Pin(total_bytes=6))
    assert Pin(etag='W/"a"', last_modified=old).validator is None
    assert Pin(last_modified=old).validator == old


@pytest.mark.parametrize(
    ("content_range", "length"),
    [
        ("", 90),
        ("bytes 0-9/100", 10),
        ("bytes 11-99/100", 89),
        ("bytes 11-9/100", 0),
        ("bytes 10-9/100", 0),
        ("bytes 10-100/100", 91),
        ("bytes 10-20", 11),
        ("bytes */100", 90),
        ("items 10-20/30", 11),
        ("bytes 10-20/1" + "0" * 30, 11),
        ("bytes 1" + "0" * 5000 + "-2/3", 2),
    ],
)
async def test_a_range_that_was_not_asked_for(content_range: str, length: int) -> None:
    answer = reply(b"x" * length, 206, {"Content-Range": content_range})
    async with answering(lambda _: answer) as server, guarding() as guard:
        with pytest.raises(Unreachable, match="range"):
            await fetch(guard, server.url, 10)


async def test_a_part_that_was_not_asked_for() -> None:
    answer = reply(b"x" * 10, 206, {"Content-Range": "bytes 0-9/100"})
    async with answering(lambda _: answer) as server, guarding() as guard:
        with pytest.raises(Unreachable, match="206"):
            await fetch(guard, server.url)


async def test_a_declared_length_over_the_limit_is_refused_before_the_body() -> None:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(reply(b"", length=LIMITS.bytes_max + 1))
        await hang(conn)

    async with Server(script) as server, guarding() as guard:
        with pytest.raises(TooLarge):
            await fetch(guard, server.url)
    huge_total = reply(b"x" * 10, 206, {"Content-Range": "bytes 10-19/999999999999"})
    async with answering(lambda _: huge_total) as server, guarding() as guard:
        with pytest.raises(TooLarge):
            await fetch(guard, server.url, 10)


CHUNK = b"x" * 65536


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Connection: close"])
async def test_an_undeclared_length_is_counted(head: str) -> None:
    sent = 0

    async def script(conn: Conn) -> None:
        nonlocal sent
        await conn.request()
        await conn.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        while True:
            await conn.send(b"10000\r\n" + CHUNK + b"\r\n" if "chunked" in head else CHUNK)
            sent += len(CHUNK)

    async with Server(script) as server, guarding() as guard:
        with pytest.raises(TooLarge):
            await fetch(guard, server.url)
        with pytest.raises(TooLarge):
            await fetch(guard, server.url, bytes_max=1000)
    assert sent < 64 * 1024 * 1024, "the server was cut off"


async def test_an_exact_limit_is_allowed() -> None:
    body = b"x" * 1000
    async with (
        answering(lambda _: reply(body)) as server,
        guarding() as guard,
        guard.open(server.url, bytes_max=1000) as stream,
    ):
        assert sum([len(chunk) async for chunk in stream.chunks()]) == 1000


BOMB = gzip.compress(b"\0" * 10_000_000)


async def test_a_compression_bomb_is_not_opened() -> None:
    async with guarding() as guard:
        encoded = reply(BOMB, headers={"Content-Encoding": "gzip"})
        async with answering(lambda _: encoded) as server:
            with pytest.raises(WrongType, match="encoded"):
                await fetch(guard, server.url)
        plain = reply(BOMB, headers={"Content-Type": "application/gzip"})
        async with answering(lambda _: plain) as server:
            assert await fetch(guard, server.url) == BOMB


@pytest.mark.parametrize(
    ("content_type", "right"),
    [
        ("video/mp4", True),
        ("VIDEO/MP4; codecs=avc1", True),
        ("application/octet-stream", True),
        ("", True),
        ("text/html", False),
        ("videos/mp4", False),
    ],
)
async def test_content_types(content_type: str, right: bool) -> None:
    answer = reply(b"x", headers={"Content-Type": content_type})
    async with answering(lambda _: answer) as server, guarding() as guard:
        try:
            async with guard.open(server.url, types=("video/",)):
                assert right
        except WrongType:
            assert not right


def _cut(head: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        _cut("Content-Length: 1000", b"x" * 999),
        _cut("Content-Length: 1000", b""),
        _cut("Transfer-Encoding: chunked", b"5\r\nxxxxx\r\n"),
        _cut("Transfer-Encoding: chunked", b"5\r\nxxx"),
        _cut("Transfer-Encoding: chunked", b"zz\r\nxxx"),
        _cut("Content-Length: 5\r\nContent-Length: 6", b"xxxxxx"),
        _cut("Content-Length: -5", b"xxxxx"),
        _cut("Content-Length: many", b"xxxxx"),
        b"",
        b"\0\1\2 garbage\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_answers_that_break_off(answer: bytes, reset: bool) -> None:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(answer)
        if reset:
            await asyncio.sleep(0.01)  # let the bytes arrive before the reset overtakes them
            conn.reset()

    async with Server(script) as server, guarding() as guard:
        with pytest.raises(Unreachable):
            await fetch(guard, server.url)


async def test_a_part_shorter_than_its_content_range() -> None:
    answer = reply(b"x" * 5, 206, {"Content-Range": "bytes 10-19/100"})
    async with answering(lambda _: answer) as server, guarding() as guard:
        with pytest.raises(Unreachable, match="cut short"):
            await fetch(guard, server.url, 10)


async def test_a_server_that_goes_silent() -> None:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(_cut("Content-Length: 1000", b"x" * 10))
        await hang(conn)

    quick = replace(LIMITS, stall_ms=100)
    async with Server(script) as server, guarding(limits=quick) as guard:
        with pytest.raises(Unreachable, match="silent"):
            await fetch(guard, server.url)
    async with Server(hang) as server, guarding(limits=quick) as guard:
        with pytest.raises(Unreachable, match="silent"):
            await fetch(guard, server.url)


async def test_a_server_that_trickles_is_ended_by_the_clock() -> None:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(_cut("Content-Length: 100000", b""))
        while True:
            await conn.send(b"x")
            await asyncio.sleep(0.02)

    async with Server(script) as server, guarding(limits=replace(LIMITS, total_ms=200)) as guard:
        with pytest.raises(Unreachable, match="in time"):
            await fetch(guard, server.url)


async def test_redirects_share_one_clock() -> None:
    async def script(conn: Conn) -> None:
        while True:
            await conn.request()
            await asyncio.sleep(0.15)
            await conn.send(reply(status=302, headers={"Location": "/on"}))

    async with Server(script) as server, guarding(limits=replace(LIMITS, total_ms=250)) as guard:
        with pytest.raises(Unreachable, match="in time"):
            await fetch(guard, server.url)


async def test_a_reader_that_is_slow_itself_is_not_a_stall() -> None:
    body = b"x" * 150_000
    async with (
        answering(lambda _: reply(body)) as server,
        guarding(limits=replace(LIMITS, stall_ms=300)) as guard,
        guard.open(server.url) as stream,
    ):
        total = 0
        async for chunk in stream.chunks():
            await asyncio.sleep(0.35 if total == 0 else 0)
            total += len(chunk)
        assert total == len(body)


async def test_leaving_early_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(_cut("Content-Length: 150000", b"x" * 100_000))
        await conn.reader.read()
        gone.set()

    async with Server(script) as server, guarding() as guard:
        async with guard.open(server.url) as stream, aclosing(stream.chunks()) as chunks:
            await anext(chunks)
        async with asyncio.timeout(5):
            await gone.wait()


async def test_nobody_there() -> None:
    async with guarding() as guard:
        with pytest.raises(Unreachable, match="no connection"):
            await fetch(guard, f"http://127.0.0.1:{free_port()}/")
    async with guarding(resolver=FakeResolver([[]])) as guard:
        with pytest.raises(Unreachable, match="resolved"):
            await fetch(guard, "http://nowhere.example.com/")
    async with Server(hang) as server, guarding(limits=replace(LIMITS, connect_ms=100)) as guard:
        with pytest.raises(Unreachable, match="no connection in time"):
            await fetch(guard, server.url.replace("http:", "https:"))


LATER = (201, 204, 300, 302, 304, 408, 425, 429, 500, 502, 503, 520, 599)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, *LATER])
async def test_statuses(status: int) -> None:
    answer = reply(b"" if status in {204, 304} else b"x", status, {"Retry-After": "7"})
    kind: type[DownloadFailed] = Unreachable if status in LATER else NotFound
    async with answering(lambda _: answer) as server, guarding() as guard:
        with pytest.raises(kind) as caught:
            await fetch(guard, server.url)
    if isinstance(caught.value, NotFound | Unreachable):
        assert caught.value.status == status
    if isinstance(caught.value, Unreachable) and status in {429, 503}:
        assert caught.value.retry_after_ms == 7000


@pytest.mark.parametrize(
    ("value", "date", "ms"),
    [
        ("0", "", 0),
        ("120", "", 120_000),
        ("-1", "", None),
        ("1.5", "", None),
        ("soon", "", None),
        ("", "", None),
        ("9" * 5000, "", None),
        ("Mon, 02 Jan 2006 15:04:35 GMT", "Mon, 02 Jan 2006 15:04:05 GMT", 30_000),
        ("Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:35 GMT", 0),
        ("Mon, 02 Jan 2006 15:04:05 GMT", "", None),
        ("Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:05 -0000", None),
        ("Mon, 99 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:05 GMT", None),
    ],
)
def test_retry_after(value: str, date: str, ms: int | None) -> None:
    assert retry_after_ms({"Retry-After": value, "Date": date}) == ms
