"""What bad input gets: always the contract's 4xx, never a 5xx, never a stored or charged task.

Written on raw sockets where no HTTP client would send it. See also the rows of `test_refusals`.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.contract.asking import Untouched, check_refusal, create
from tests.support.live import Account, Live, live_server

KIB, MIB = 1024, 1024 * 1024
BODY = json.dumps(create(prompt="[sandbox:refuse]").json).encode()
PICTURE = "https://pictures.example/a.png"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A gateway as shipped where others are more generous, and with small limits."""
    with live_server(
        tmp_path_factory.mktemp("strict"),
        REELGATE_ALLOW_HTTP_INPUTS="false",
        REELGATE_ALLOW_PRIVATE_INPUTS="false",
        REELGATE_REQUEST_BYTES_MAX=str(MIB),
        REELGATE_PREFER_WAIT_S_MAX="1",
        REELGATE_PUBLIC_URL="https://films.example/gate",
    ) as server:
        yield server


@pytest.fixture
def account(strict: Live) -> Iterator[Account]:
    """An account that must be as it was when the test is over."""
    account = strict.account()
    untouched = Untouched(account)
    yield account
    untouched.check()
    assert strict.client().get("/healthz").status_code == 200


# ---- raw sockets --------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def check(self, status: int, code: str) -> str:
        answer = httpx.Response(self.status, headers=self.headers, content=self.body)
        return check_refusal(answer, status, code)


class Raw:
    """One connection on which anything may be said."""

    def __init__(self, live: Live) -> None:
        address = urlsplit(live.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=20)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> bool:
        """Whether the other end still takes it."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def reply(self) -> Reply:
        """The next answer. Raises AssertionError when there is none."""
        first = self._file.readline()
        assert first.startswith(b"HTTP/1.1 "), first
        headers = {}
        while (line := self._file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", "0")))
        return Reply(int(first.split()[1]), headers, body)

    def ended(self) -> bool:
        """Whether the other end has hung up."""
        try:
            return self._file.read(1) == b""
        except OSError:
            return True

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Hang up without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def head(account: Account, *lines: str, target: str = "POST /v1/videos") -> bytes:
    fixed = ["Host: x", f"Authorization: Bearer {account.key}", "Content-Type: application/json"]
    return "\r\n".join([f"{target} HTTP/1.1", *fixed, *lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_body_that_never_ends_is_cut(strict: Live, account: Account) -> None:
    with closing(Raw(strict)) as raw:
        raw.send(head(account, "Transfer-Encoding: chunked"))
        raw.send(chunk(b'{"prompt": "'))
        sent = 0
        while raw.send(chunk(b"x" * 64 * KIB)):
            sent += 64 * KIB
            if sent > 64 * MIB:
                pytest.fail("64 MiB were taken")
        raw_reply = Raw(strict)
    with closing(raw_reply):
        raw_reply.send(head(account, "Transfer-Encoding: chunked"))
        for _ in range(17):
            raw_reply.send(chunk(b"x" * 64 * KIB))
        reply = raw_reply.reply()
        assert "1 MiB" in reply.check(413, "request_too_large")
        assert reply.headers["connection"] == "close"
        assert raw_reply.ended()


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"],
)
def test_a_body_announced_too_long_is_not_waited_for(
    strict: Live, account: Account, content_type: str
) -> None:
    for length in (MIB + 1, 10**15):
        with closing(Raw(strict)) as raw:
            lines = (f"Content-Length: {length}", f"Content-Type: {content_type}")
            asked = head(account, *lines).replace(b"Content-Type: application/json\r\n", b"", 1)
            raw.send(asked)
            reply = raw.reply()
            reply.check(413, "request_too_large")
            assert raw.ended()


def test_a_body_of_just_the_limit_is_read(strict: Live) -> None:
    account = strict.account()
    padded = BODY[:-1] + b" " * (MIB - len(BODY)) + b"}"
    answer = account.http.post(
        "/v1/videos", content=padded, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text


def test_a_form_that_never_ends_is_cut(strict: Live, account: Account) -> None:
    def parts() -> Iterator[bytes]:
        while True:
            yield b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"y" * 8000 + b"\r\n"

    with closing(Raw(strict)) as raw:
        asked = head(account, "Transfer-Encoding: chunked").replace(
            b"application/json", b"multipart/form-data; boundary=b"
        )
        raw.send(asked)
        for number, part in enumerate(parts()):
            if not raw.send(chunk(part)):
                break
            assert number < 10_000
    with closing(Raw(strict)) as raw:
        raw.send(asked)
        for number, part in enumerate(parts()):
            if number > 131 or not raw.send(chunk(part)):
                break
        raw.reply().check(413, "request_too_large")


@pytest.mark.parametrize("kept", [0, 1, len(BODY) // 2, len(BODY) - 1])
def test_a_client_that_goes_away_has_asked_for_nothing(
    strict: Live, account: Account, kept: int
) -> None:
    for hang_up in (Raw.close, Raw.reset):
        raw = Raw(strict)
        raw.send(head(account, f"Content-Length: {len(BODY)}") + BODY[:kept])
        hang_up(raw)


BAD_HTTP = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "no version": b"GET /v1/videos\r\n\r\n",
    "another protocol": b"HELO example.com\r\n\r\n",
    "a method of nobody": b"BREW /v1/videos HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in a header's name": b"GET /healthz HTTP/1.1\r\nHo st: x\r\n\r\n",
    "NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "a length that is none": b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Content-Length: 6\r\n\r\nhello!",
    "a length and chunks": b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
    b"\r\n\r\nhello\r\n",
    "a head that never ends": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (2 * MIB),
    "a target that never ends": b"GET /" + b"a" * (2 * MIB),
}


@pytest.mark.parametrize("said", BAD_HTTP.values(), ids=BAD_HTTP)
def test_what_is_no_http_is_answered_all_the_same(strict: Live, said: bytes) -> None:
    with closing(Raw(strict)) as raw:
        raw.send(said)
        replies = [raw.reply()]
        if replies[0].status == 401:  # it was told who may come in before its body was looked at
            return
        replies[0].check(400, "invalid_value")
        assert raw.ended()


def test_many_headers_are_no_trouble(strict: Live) -> None:
    account = strict.account()
    headers = {f"x-{n}": "y" * 20 for n in range(1_000)}
    assert account.http.get("/v1/videos", headers=headers).status_code == 200


def test_requests_may_follow_each_other_on_one_connection(strict: Live) -> None:
    account = strict.account()
    wrong, right = b'{"prompt": ', BODY
    with closing(Raw(strict)) as raw:
        raw.send(
            head(account, f"Content-Length: {len(wrong)}")
            + wrong
            + head(account, f"Content-Length: {len(right)}")
            + right
            + head(account, target="GET /v1/nothing")
        )
        assert [raw.reply().status for _ in range(3)] == [400, 200, 404]
    assert len(account.tasks()) == 1


def test_a_refused_body_does_not_become_the_next_request(strict: Live, account: Account) -> None:
    """The rest of a body that was refused early is not read as HTTP."""
    smuggled = head(account, target="POST /v1/videos") + BODY
    with closing(Raw(strict)) as raw:
        asked = head(account, f"Content-Length: {len(smuggled)}").replace(
            b"application/json", b"text/plain"
        )
        raw.send(asked + smuggled)
        raw.reply().check(415, "unsupported_media_type")
        raw.send(head(account, target="GET /v1/nothing"))
        raw.reply().check(404, "route_not_found")


def test_a_client_may_ask_before_it_sends(strict: Live) -> None:
    account = strict.account()
    with closing(Raw(strict)) as raw:
        raw.send(head(account, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert raw._file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert raw._file.readline() == b"\r\n"
        raw.send(BODY)
        assert raw.reply().status == 200


# ---- a gateway as shipped -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "http://pictures.example/a.png"},
        {"images": ["https://pictures.example/a.png", "http://pictures.example/a.png"]},
        {"video": {"url": "http://clips.example/a.mp4"}, "duration": None},
    ],
)
def test_plain_http_is_taken_only_where_the_operator_says_so(
    account: Account, fields: dict[str, Any]
) -> None:
    name = next(iter(fields))
    message = check_refusal(create(**fields).send(account.http), 400, "invalid_value", name)
    assert "https://" in message


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.mp4",
        "https://[::1]/a.mp4",
        "https://localhost/a.mp4",
        "https://169.254.169.254/latest/meta-data/a.mp4",
        "https://2130706433/a.mp4",
        "https://0x7f.1/a.mp4",
        "https://[::ffff:10.0.0.1]/a.mp4",
        "https://user:pass@10.0.0.1/a.mp4",
    ],
)
def test_nobody_reaches_into_the_operators_network(strict: Live, url: str) -> None:
    account = strict.account()
    answer = create(video=url, duration=None).send(account.http)
    if answer.status_code == 200:
        task = account.ended(answer.json()["id"])
        assert task["status"] == "failed"
        assert task["error"]["code"] in {"invalid_input", "input_unreachable"}
    else:
        check_refusal(answer, 400, "invalid_value", "video")
    assert account.balance() == ("100.00", "0.00")


def test_links_begin_with_the_public_url(strict: Live) -> None:
    account = strict.account()
    url = account.ended(account.create()["id"])["metadata"]["url"]
    assert url.startswith("https://films.example/gate/v1/videos/task_")


def test_a_wait_is_as_long_as_the_operator_allows(strict: Live) -> None:
    account = strict.account()
    task = account.create(prompt="[sandbox:slow=600]")
    answer = account.http.get(f"/v1/videos/{task['id']}", headers={"prefer": "wait=60"}, timeout=9)
    assert answer.json()["status"] in {"queued", "in_progress"}
    account.cancelled(task["id"])
