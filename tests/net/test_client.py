"""When no answer comes: can the request have been received? Told apart on real sockets."""

import asyncio
import gzip
import re
import ssl
from collections.abc import Awaitable, Callable

import pytest

from reelgate.net.client import Client, Part, Reply
from reelgate.net.errors import (
    Changed,
    NotFound,
    NotReceived,
    Redirected,
    TooLarge,
    Uncertain,
)
from reelgate.net.stream import Limits, Pin
from tests.net.clients import LIMITS, calling
from tests.net.servers import (
    FILE,
    Conn,
    FakeResolver,
    Request,
    Server,
    answering,
    file_answer,
    free_port,
    hang,
    reply,
)

ACCEPTED = reply(b'{"id":"job-1"}', 200, {"Content-Type": "application/json"})


async def submit(client: Client, body: bytes = b'{"prompt":"x"}', timeout_ms: int = 4_000) -> Reply:
    headers = {"Authorization": "Bearer sk"}
    return await client.request(
        "POST", "/v1/videos", headers=headers, json_body=body, timeout_ms=timeout_ms
    )


async def test_a_request_and_its_reply() -> None:
    async with answering(lambda _: ACCEPTED) as server, calling(server.url + "/") as client:
        got = await submit(client)
        assert (got.status, got.body) == (200, b'{"id":"job-1"}')
        assert got.headers["content-type"] == got.headers["Content-Type"] == "application/json"
        polled = await client.request("GET", "/v1/videos/a%2Fb?x=%20", timeout_ms=4_000)
        assert polled.status == 200
    post, poll = server.requests
    assert (post.method, post.target, post.body) == ("POST", "/v1/videos", b'{"prompt":"x"}')
    assert post.headers["authorization"] == "Bearer sk"
    assert post.headers["content-type"] == "application/json"
    assert (poll.method, poll.target) == ("GET", "/v1/videos/a%2Fb?x=%20")
    assert "authorization" not in poll.headers
    assert "content-type" not in poll.headers


async def test_the_resolver_of_the_system() -> None:
    async with (
        answering(lambda _: ACCEPTED) as server,
        calling(f"http://localhost:{server.port}") as client,
    ):
        assert (await submit(client)).status == 200


async def test_what_a_server_asks_for_in_retry_after() -> None:
    answer = reply(b"", 429, {"Retry-After": "3"})
    async with answering(lambda _: answer) as server, calling(server.url) as client:
        assert (await submit(client)).retry_after_ms == 3_000


@pytest.mark.parametrize("status", [201, 202, 204, 302, 307, 400, 404, 429, 500, 503, 599])
async def test_every_status_is_a_reply(status: int) -> None:
    answer = reply(b"" if status == 204 else b"body", status, {"Location": "/elsewhere"})
    async with answering(lambda _: answer) as server, calling(server.url) as client:
        got = await submit(client)
        assert (got.status, got.headers["location"]) == (status, "/elsewhere")
        assert len(server.requests) == 1, "no redirect is followed"


async def test_cookies_are_forgotten() -> None:
    answer = reply(b"", headers={"Set-Cookie": "session=1; Path=/"})
    async with answering(lambda _: answer) as server, calling(server.url) as client:
        await client.request("GET", "/", timeout_ms=4_000)
        await client.request("GET", "/", timeout_ms=4_000)
        assert [r.headers.get("cookie") for r in server.requests] == [None, None]


# --- certainly not received -------------------------------------------------------------------


async def test_connection_refused() -> None:
    async with calling(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(NotReceived, match="no connection could be made"):
            await submit(client)


async def test_a_name_that_does_not_resolve() -> None:
    async with calling("http://up.example.com", resolver=FakeResolver([[]])) as client:
        with pytest.raises(NotReceived, match="resolved"):
            await submit(client)
    async with calling(f"http://{'a' * 64}.example.com") as client:
        with pytest.raises(NotReceived):
            await submit(client)


async def test_a_certificate_of_somebody_else(server_tls: ssl.SSLContext) -> None:
    async with answering(lambda _: ACCEPTED, ssl_context=server_tls) as server:
        async with calling(server.url) as client:
            with pytest.raises(NotReceived, match="certificate"):
                await submit(client)
        assert server.requests == []


async def test_tls_that_works(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async with (
        answering(lambda _: ACCEPTED, ssl_context=server_tls) as server,
        calling(server.url, ssl_context=client_tls) as client,
    ):
        assert (await submit(client)).status == 200


async def test_a_server_that_does_not_speak_tls() -> None:
    async def plain(conn: Conn) -> None:
        await conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def hang_up(_conn: Conn) -> None:
        """Close at once."""

    for script in (plain, hang_up):
        async with Server(script) as server, calling(f"https://127.0.0.1:{server.port}") as client:
            with pytest.raises(NotReceived):
                await submit(client)


async def test_a_handshake_that_hangs() -> None:
    async with (
        Server(hang) as server,
        calling(f"https://127.0.0.1:{server.port}", connect_ms=2_000) as client,
    ):
        with pytest.raises(NotReceived, match="no connection in time"):
            await submit(client, timeout_ms=600)  # shorter than the time to connect


async def test_no_free_connection_in_time() -> None:
    arrived = asyncio.Event()

    async def script(conn: Conn) -> None:
        arrived.set()
        await hang(conn)

    async with Server(script) as server, calling(server.url, connections_max=1) as client:
        first = asyncio.create_task(submit(client))
        await arrived.wait()
        with pytest.raises(NotReceived, match="no connection in time"):
            await submit(client, timeout_ms=600)
        first.cancel()
        assert server.connections == 1


# --- uncertain --------------------------------------------------------------------------------


async def close_unread(conn: Conn) -> None:
    conn.close()


async def reset_unread(conn: Conn) -> None:
    conn.reset()


async def close_half_read(conn: Conn) -> None:
    await conn.reader.readexactly(20)
    conn.close()


async def reset_half_read(conn: Conn) -> None:
    await conn.reader.readexactly(20)
    conn.reset()


async def close_after_reading(conn: Conn) -> None:
    await conn.request()


async def reset_after_reading(conn: Conn) -> None:
    await conn.request()
    conn.reset()


async def hang_after_reading(conn: Conn) -> None:
    await conn.request()
    await hang(conn)


def then_close(answer: bytes) -> Callable[[Conn], Awaitable[None]]:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(answer)

    return script


def then_hang(answer: bytes) -> Callable[[Conn], Awaitable[None]]:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(answer)
        await hang(conn)

    return script


def then_reset(answer: bytes) -> Callable[[Conn], Awaitable[None]]:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(answer)
        await asyncio.sleep(0.01)  # let the bytes arrive before the reset overtakes them
        conn.reset()

    return script


async def endless_headers(conn: Conn) -> None:
    await conn.request()
    await conn.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await conn.send(b"X-A: b\r\n" * 1000)


async def endless_continue(conn: Conn) -> None:
    await conn.request()
    while True:
        await conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.01)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
UNCERTAIN = {
    "closed unread": close_unread,
    "reset unread": reset_unread,
    "closed half read": close_half_read,
    "reset half read": reset_half_read,
    "closed after reading": close_after_reading,
    "reset after reading": reset_after_reading,
    "hangs unread": hang,
    "hangs after reading": hang_after_reading,
    "cut in the status": then_close(b"HTTP/1.1 20"),
    "cut in the headers": then_close(HEAD),
    "cut in the body": then_close(HEAD + b'Content-Length: 15\r\n\r\n{"id":"job-1'),
    "reset in the body": then_reset(HEAD + b'Content-Length: 15\r\n\r\n{"id":"job-1'),
    "hangs in the body": then_hang(HEAD + b'Content-Length: 15\r\n\r\n{"id":"job-1'),
    "cut between chunks": then_close(HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"i\r\n'),
    "broken chunk": then_close(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "two lengths": then_close(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
    "garbage": then_close(b"\x00\x01 what\r\n\r\n"),
    "another protocol": then_close(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "long header": then_close(HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n"),
    "endless headers": endless_headers,
    "endless 100": endless_continue,
    "compressed": then_close(
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"id":"job-1"}')
    ),
}


@pytest.mark.parametrize("script", UNCERTAIN.values(), ids=UNCERTAIN)
async def test_uncertain(script: Callable[[Conn], Awaitable[None]]) -> None:
    async with Server(script) as server, calling(server.url) as client:
        with pytest.raises(Uncertain):
            await submit(client, timeout_ms=400)
        assert server.connections == 1, "a POST is never sent twice"


async def test_an_answer_cut_anywhere_is_uncertain() -> None:
    for end in range(len(ACCEPTED)):
        async with Server(then_close(ACCEPTED[:end])) as server, calling(server.url) as client:
            with pytest.raises(Uncertain):
                await submit(client)
            assert server.connections == 1


async def test_a_request_cut_anywhere_is_uncertain() -> None:
    body = b"x" * 5_000_000  # more than fits into the buffers of both ends

    for size in (1, 10, 100, 1_000, 100_000, 1_000_000, 4_900_000):

        async def script(conn: Conn, size: int = size) -> None:
            await conn.reader.readexactly(size)
            conn.reset()

        async with Server(script) as server, calling(server.url) as client:
            with pytest.raises(Uncertain):
                await submit(client, body)
            assert server.connections == 1


@pytest.mark.parametrize("declared", [True, False])
async def test_an_answer_of_100_mb_is_cut(declared: bool) -> None:
    sent = 0

    async def script(conn: Conn) -> None:
        nonlocal sent
        await conn.request()
        length = b"Content-Length: 100000000\r\n" if declared else b"Connection: close\r\n"
        await conn.send(HEAD + length + b"\r\n")
        while sent < 100_000_000:
            await conn.send(b" " * 100_000)
            sent += 100_000

    async with Server(script) as server, calling(server.url) as client:
        with pytest.raises(Uncertain, match="larger than 100000 bytes"):
            await submit(client)
    assert sent < 20_000_000


async def test_an_answer_at_the_limit_is_read() -> None:
    body = b"x" * 100_000
    async with answering(lambda _: reply(body)) as server, calling(server.url) as client:
        assert (await submit(client)).body == body
        with pytest.raises(Uncertain):
            await client.request("GET", "/", timeout_ms=4_000, reply_bytes_max=99_999)


async def test_a_kept_connection_that_dies_never_costs_a_post() -> None:
    """Servers close idle connections without a word, at the worst moment."""

    async def script(conn: Conn) -> None:
        request = await conn.request()
        received.append(request.method)
        await conn.send(reply(b"{}"))

    received: list[str] = []
    async with Server(script) as server, calling(server.url) as client:
        for _ in range(20):
            await client.request("GET", "/", timeout_ms=4_000)
            await submit(client)
        assert received.count("POST") == 20
        assert received.count("GET") >= 20


async def test_polls_share_connections() -> None:
    async with (
        answering(lambda _: reply(b"{}")) as server,
        calling(server.url, connections_max=3) as client,
    ):
        polls = (client.request("GET", f"/{n}", timeout_ms=4_000) for n in range(200))
        assert {r.status for r in await asyncio.gather(*polls)} == {200}
        assert server.connections <= 3


async def test_a_hung_upstream_holds_up_no_other() -> None:
    async with (
        Server(hang) as hung,
        answering(lambda _: reply(b"{}")) as fine,
        calling(hung.url, connections_max=2) as bad,
        calling(fine.url, connections_max=2) as good,
    ):
        stuck = [asyncio.create_task(submit(bad, timeout_ms=4_000)) for _ in range(20)]
        for _ in range(50):
            await good.request("GET", "/", timeout_ms=2_000)
        assert not any(task.done() for task in stuck)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_cancelling_a_request_frees_its_connection() -> None:
    arrived = asyncio.Event()

    async def script(conn: Conn) -> None:
        await conn.request()
        arrived.set()
        await hang(conn)

    async with Server(script) as server, calling(server.url, connections_max=1) as client:
        for _ in range(3):
            task = asyncio.create_task(submit(client))
            await arrived.wait()
            arrived.clear()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# --- bodies and streams -----------------------------------------------------------------------


async def test_a_big_body_arrives_whole() -> None:
    body = b'{"video":"' + b"x" * 5_000_000 + b'"}'
    async with answering(lambda _: ACCEPTED) as server, calling(server.url) as client:
        await submit(client, body)
        assert server.requests[0].body == body
        assert server.requests[0].headers["content-length"] == str(len(body))


async def test_a_multipart_form() -> None:
    parts = (
        Part("model", "sora-2"),
        Part("prompt", 'a cat \u2014 "quoted" \r\n line'),
        Part("input_reference", bytes(range(256)) * 8_000, "in.png", "image/png"),
    )
    async with answering(lambda _: ACCEPTED) as server, calling(server.url) as client:
        await client.request("POST", "/v1/videos", parts=parts, timeout_ms=4_000)
        await client.request("POST", "/v1/videos", parts=parts[:1], timeout_ms=4_000)
    for request, sent in zip(server.requests, (parts, parts[:1]), strict=True):
        assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
        assert _parts(request) == [
            (p.name, p.value if isinstance(p.value, bytes) else p.value.encode(), p.filename)
            for p in sent
        ]


def _parts(request: Request) -> list[tuple[str, bytes, str | None]]:
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    found = []
    for section in request.body.split(b"--" + boundary)[1:-1]:
        head, _, value = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        names = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
        found.append((names["name"], value.removesuffix(b"\r\n"), names.get("filename")))
    return found


async def test_streaming_from_an_upstream() -> None:
    headers = {"Authorization": "Bearer sk"}
    async with answering(file_answer()) as server, calling(server.url) as client:
        async with client.stream("/c", limits=LIMITS, headers=headers) as stream:
            assert b"".join([chunk async for chunk in stream.chunks()]) == FILE
        async with client.stream("/c", limits=LIMITS, offset=9, pin=stream.pin) as rest:
            assert b"".join([chunk async for chunk in rest.chunks()]) == FILE[9:]
        assert server.requests[0].headers["authorization"] == "Bearer sk"
        with pytest.raises(Changed):
            await _open(client, pin=Pin(etag='"old"'))
        with pytest.raises(TooLarge):
            await _open(client, limits=Limits(bytes_max=10))


async def test_a_stream_that_is_elsewhere() -> None:
    there = {"Location": "//cdn.example.com/v.mp4?sig=%2F"}
    async with (
        answering(lambda r: reply(status=302, headers=there)) as server,
        calling(server.url) as client,
    ):
        with pytest.raises(Redirected) as caught:
            await _open(client)
        assert caught.value.url == "http://cdn.example.com/v.mp4?sig=%2F"
    async with answering(lambda r: reply(status=404)) as server, calling(server.url) as client:
        with pytest.raises(NotFound):
            await _open(client)


async def _open(client: Client, limits: Limits = LIMITS, pin: Pin | None = None) -> None:
    async with client.stream("/c", limits=limits, offset=1 if pin else 0, pin=pin):
        pass
