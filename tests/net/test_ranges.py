"""Reading here and there: few requests, few bytes, one version of the file."""

import random
from collections.abc import Callable

import pytest

from reelgate.net.errors import Changed, TooLarge, Unreachable
from reelgate.net.ranges import BLOCK_BYTES
from tests.net.clients import guarding
from tests.net.servers import Request, Server, answering, file_answer, reply

FILE = random.Random(7).randbytes(190_000)


def chunked_answer(file: bytes) -> Callable[[Request], bytes]:
    """A server that knows neither ranges nor lengths."""

    def answer(_request: Request) -> bytes:
        pieces = [file[i : i + 5000] for i in range(0, len(file), 5000)]
        body = b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n\r\n"
        return reply(body, headers={"Transfer-Encoding": "chunked"}, length=-1)

    return answer


def unknown_total(request: Request) -> bytes:
    """Serves ranges, but never says how long the file is."""
    answer = file_answer(FILE)(request)
    if b" 206 " in answer[:20]:
        return answer.replace(f"/{len(FILE)}".encode(), b"/*", 1)
    return answer


SERVERS = {
    "ranges": file_answer(FILE),
    "whole": file_answer(FILE, ranges=False),
    "chunked": chunked_answer(FILE),
    "unknown total": unknown_total,
}


@pytest.mark.parametrize("answer", SERVERS.values(), ids=SERVERS)
async def test_forward_reads(answer: Callable[[Request], bytes]) -> None:
    async with answering(answer) as server, guarding() as guard, guard.reader(server.url) as file:
        for offset, length in ((0, 16), (16, 100), (100_000, 8), (100_008, 70_000)):
            assert await file.read_at(offset, length) == FILE[offset : offset + length]
        assert await file.read_at(len(FILE) - 5, 100) == FILE[-5:]
        assert await file.read_at(len(FILE), 10) == b""
        assert await file.read_at(5, 0) == b""
        assert len(server.requests) <= 4


@pytest.mark.parametrize("answer", SERVERS.values(), ids=SERVERS)
async def test_reads_in_any_order(answer: Callable[[Request], bytes]) -> None:
    pick = random.Random(11)
    async with answering(answer) as server, guarding() as guard:
        for _ in range(5):
            async with guard.reader(server.url, bytes_max=10_000_000) as file:
                for _ in range(6):
                    offset, length = pick.randrange(len(FILE) + 10), pick.randrange(90_000)
                    assert await file.read_at(offset, length) == FILE[offset : offset + length]


async def test_small_reads_close_together_are_one_request() -> None:
    async with (
        answering(SERVERS["ranges"]) as server,
        guarding() as guard,
        guard.reader(server.url) as file,
    ):
        for offset in range(0, BLOCK_BYTES, 1000):
            await file.read_at(offset, 8)
        assert file.total_bytes == len(FILE)
        assert [r.headers["range"] for r in server.requests] == [f"bytes=0-{BLOCK_BYTES - 1}"]


async def test_requests_are_bounded() -> None:
    async with (
        answering(SERVERS["ranges"]) as server,
        guarding() as guard,
        guard.reader(server.url, requests_max=2) as file,
    ):
        await file.read_at(0, 1)
        await file.read_at(100_000, 1)
        with pytest.raises(Unreachable, match="too many requests"):
            await file.read_at(180_000, 1)
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", ["ranges", "whole"])
async def test_a_file_over_the_limit(name: str) -> None:
    async with (
        answering(SERVERS[name]) as server,
        guarding() as guard,
        guard.reader(server.url, bytes_max=len(FILE) - 1) as file,
    ):
        with pytest.raises(TooLarge):
            await file.read_at(0, 1)


@pytest.mark.parametrize("name", ["chunked", "unknown total"])
async def test_bytes_are_bounded_where_no_length_is_told(name: str) -> None:
    async with (
        answering(SERVERS[name]) as server,
        guarding() as guard,
        guard.reader(server.url, bytes_max=100_000) as file,
    ):
        with pytest.raises(TooLarge):
            await file.read_at(99_990, 20)


async def test_jumping_back_again_and_again_is_bounded_too() -> None:
    async with (
        answering(SERVERS["whole"]) as server,
        guarding() as guard,
        guard.reader(server.url, bytes_max=len(FILE), requests_max=99) as file,
    ):
        await file.read_at(150_000, 1)
        with pytest.raises(TooLarge):
            await file.read_at(0, 1)


async def test_a_server_that_sends_more_or_less_than_asked() -> None:
    """A 206 may be shorter than asked for; one that is longer is cut."""

    def stingy(request: Request) -> bytes:
        start = int(request.headers["range"].removeprefix("bytes=").split("-")[0])
        return file_answer(FILE)(
            Request("GET", "/", {"range": f"bytes={start}-{start + 29_999}"}, b"")
        )

    def generous(request: Request) -> bytes:
        start = request.headers["range"].removeprefix("bytes=").split("-")[0]
        return file_answer(FILE)(Request("GET", "/", {"range": f"bytes={start}-"}, b""))

    for answer, requests in ((stingy, 4), (generous, 2)):
        async with answering(answer) as server, guarding() as guard:
            async with guard.reader(server.url) as file:
                assert await file.read_at(0, 60_000) == FILE[:60_000]
                assert await file.read_at(100_000, 60_000) == FILE[100_000:160_000]
            assert len(server.requests) == requests


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_file_that_changes_between_two_reads(ranges: bool) -> None:
    def answer(request: Request) -> bytes:
        etag = f'"{len(server.requests)}"'
        return file_answer(FILE, etag, ranges=ranges)(request)

    server: Server
    async with (
        answering(answer) as server,
        guarding() as guard,
        guard.reader(server.url, bytes_max=10_000_000) as file,
    ):
        await file.read_at(150_000, 8)
        with pytest.raises(Changed):
            await file.read_at(0, 8)


async def test_a_file_that_grows_without_an_etag() -> None:
    def answer(request: Request) -> bytes:
        grown = FILE + b"x" * (len(server.requests) - 1)
        return file_answer(grown)(request).replace(b'ETag: "v1"\r\n', b"")

    server: Server
    async with (
        answering(answer) as server,
        guarding() as guard,
        guard.reader(server.url) as file,
    ):
        await file.read_at(0, 8)
        with pytest.raises(Changed):
            await file.read_at(150_000, 8)


async def test_the_place_where_redirects_ended_is_remembered() -> None:
    def answer(request: Request) -> bytes:
        if request.target == "/":
            return reply(status=302, headers={"Location": "/real"})
        return file_answer(FILE)(request)

    async with answering(answer) as server, guarding() as guard:
        async with guard.reader(server.url) as file:
            await file.read_at(0, 8)
            await file.read_at(150_000, 8)
        assert [r.target for r in server.requests] == ["/", "/real", "/real"]
