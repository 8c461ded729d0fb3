"""Bodies: three encodings, one structure; everything broken, huge or endless is refused cleanly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from reelgate.api.body import LARGE_BYTES, read_body
from reelgate.api.forms import BodyLimits, Upload
from reelgate.domain.errors import Code, Refusal
from tests.api.bodies import LIMITS, Channel, as_json, as_multipart, as_urlencoded, channel, read

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "multipart/form-data; boundary=xyz"
MIB = 1024 * 1024
SMALL = BodyLimits(
    request_bytes_max=10_000,
    other_file_bytes_max=2_000,
    file_bytes_max={"image": 1_000},
    parts_max=10,
)


def part(headers: str, data: bytes = b"x") -> bytes:
    """A whole multipart body of one part, written by hand."""
    return b"--xyz\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n--xyz--\r\n"


def field(name: str, data: bytes = b"x") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', data)


# ---- what is read -------------------------------------------------------------------------


@dataclass(frozen=True)
class Good:
    name: str
    body: bytes
    content_type: str | None
    fields: dict[str, Any]


GOOD = (
    Good("JSON", b'{"a": [1, {"b": null}]}', "application/json", {"a": [1, {"b": None}]}),
    Good("JSON with a charset", b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
    Good("JSON in capitals", b'{"a": 1}', "Application/JSON", {"a": 1}),
    Good("JSON without a type", b'{"a": 1}', None, {"a": 1}),
    Good("an empty form", b"", FORM, {}),
    Good("a form", b"a=1&b=x+y%26z&c=", FORM, {"a": "1", "b": "x y&z", "c": ""}),
    Good(
        "every escape",
        b"a=%3D%25%2B%26%20%0A%0d%0A=x=%3d\n=\r\n",
        FORM,
        {"a": "=%+& \n\r\n=x==\n=\r\n"},
    ),
    Good("empty fields", b"&a=1&&b&", FORM, {"a": "1", "b": ""}),
    Good("a form in UTF-8", "a=%C3%A9&b=é".encode(), FORM, {"a": "é", "b": "é"}),
    Good("a form with brackets", b"a[b][c]=1&a[b][d]=2", FORM, {"a": {"b": {"c": "1", "d": "2"}}}),
    Good("escaped brackets", b"a%5Bb%5D=1", FORM, {"a": {"b": "1"}}),
    Good("a list", b"a[]=1&a[]=2", FORM, {"a": ["1", "2"]}),
    Good("a list of one", b"a[]=1", FORM, {"a": ["1"]}),
    Good("a repeated name", b"a=1&b=2&a=3", FORM, {"a": ["1", "3"], "b": "2"}),
    Good("both ways of a list", b"a=1&a[]=2&a=3", FORM, {"a": ["1", "2", "3"]}),
    Good("a list of objects", b"a[][x]=1&a[][x]=2", FORM, {"a": [{"x": "1"}, {"x": "2"}]}),
    Good(
        "objects of two names",
        b"a[][x]=1&a[][y]=2&a[][x]=3",
        FORM,
        {"a": [{"x": "1", "y": "2"}, {"x": "3"}]},
    ),
    Good("a list inside an object", b"a[b][]=1&a[b][]=2", FORM, {"a": {"b": ["1", "2"]}}),
    Good(
        "a list in an object in a list", b"a[][x][]=1&a[][x][]=2", FORM, {"a": [{"x": ["1", "2"]}]}
    ),
    Good("odd brackets are a name", b"a[b=1&]c=2&[d]=3", FORM, {"a[b": "1", "]c": "2", "[d]": "3"}),
    Good("lists of lists are a name", b"a[][]=1", FORM, {"a[][]": "1"}),
    Good("multipart", field("a", b"1"), BOUNDARY, {"a": "1"}),
    Good(
        "multipart, quoted boundary", field("a"), 'multipart/form-data; boundary="xyz"', {"a": "x"}
    ),
    Good("multipart with brackets", field("a[b]", b"1"), BOUNDARY, {"a": {"b": "1"}}),
    Good("multipart without parts", b"--xyz--\r\n", BOUNDARY, {}),
    Good(
        "a typed field is a field",  # as aiperf writes them, with the type first
        part('Content-Type: text/plain\r\nContent-Disposition: form-data; name="a"', b"1"),
        BOUNDARY,
        {"a": "1"},
    ),
    Good(
        "a file field that nobody filled",
        part('Content-Disposition: form-data; name="a"; filename=""', b""),
        BOUNDARY,
        {},
    ),
    Good("an unnamed charset", field("a", "é 漢 😀".encode()), BOUNDARY, {"a": "é 漢 😀"}),
    Good("line breaks stay", field("a", b"1\r\n2\n"), BOUNDARY, {"a": "1\r\n2\n"}),
    Good("what looks like a boundary", field("a", b"\r\n--xy"), BOUNDARY, {"a": "\r\n--xy"}),
)


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row.name)
@pytest.mark.parametrize("chunk_bytes", [1, 7, 64 * 1024])
async def test_what_is_read(row: Good, chunk_bytes: int) -> None:
    """However the network cuts it up."""
    assert await read(row.body, row.content_type, chunk_bytes=chunk_bytes) == row.fields


@pytest.mark.parametrize("chunk_bytes", [100, 64 * 1024])
async def test_files_come_with_their_bytes_and_hash(chunk_bytes: int) -> None:
    data = bytes(range(256)) * 1000 + b"\r\n--"
    body, content_type = as_multipart(
        [("prompt", "p"), ("images[]", ("a.png", data, "image/png")), ("images[]", ("ü", b"2", ""))]
    )
    fields = await read(body, content_type, chunk_bytes=chunk_bytes)
    assert fields["prompt"] == "p"
    first, second = fields["images"]
    assert first == Upload("a.png", "image/png", data, hashlib.sha256(data).hexdigest())
    assert (second.filename, second.data) == ("ü", b"2")


async def test_a_file_named_only_in_the_forbidden_way_is_a_file() -> None:
    body = part("Content-Disposition: form-data; name=\"image\"; filename*=utf-8''%C3%BC.png")
    assert isinstance((await read(body, BOUNDARY))["image"], Upload)


@given(
    st.lists(
        st.tuples(st.text("ab%=&+ é", min_size=1), st.text()), max_size=5, unique_by=itemgetter(0)
    )
)
async def test_urlencoded_text_comes_through(pairs: list[tuple[str, str]]) -> None:
    assert await read(*as_urlencoded(pairs)) == dict(pairs)


async def test_a_large_body_is_read_like_a_small_one() -> None:
    fields = {"prompt": "x" * LARGE_BYTES}
    for body, content_type in (as_json(fields), as_urlencoded(fields.items())):
        assert await read(body, content_type) == fields


# ---- what is refused ----------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    name: str
    body: bytes
    content_type: str | None
    code: Code
    says: str


JSON_CODE, INVALID, TYPE = Code.INVALID_JSON, Code.INVALID_VALUE, Code.UNSUPPORTED_MEDIA_TYPE
LARGE = Code.REQUEST_TOO_LARGE
BAD = (
    Bad("nothing", b"", "application/json", JSON_CODE, "body is empty"),
    Bad("nothing of no type", b"", None, JSON_CODE, "body is empty"),
    Bad("a list", b"[1]", "application/json", JSON_CODE, "must be a JSON object"),
    Bad("a string", b'"x"', "application/json", JSON_CODE, "must be a JSON object"),
    Bad("null", b"null", "application/json", JSON_CODE, "must be a JSON object"),
    Bad("not JSON", b"prompt=x", "application/json", JSON_CODE, "not valid JSON"),
    Bad("not JSON, no type", b"prompt=x", None, JSON_CODE, "not valid JSON"),
    Bad("multipart called JSON", field("a"), "application/json", JSON_CODE, "Content-Type unset"),
    Bad("JSON called a form", b'{"prompt": "x"}', FORM, INVALID, "Content-Type: application/json"),
    Bad("text", b"{}", "text/plain", TYPE, "'text/plain'"),
    Bad("XML", b"<a/>", "application/xml", TYPE, "application/json, multipart/form-data"),
    Bad("a picture", b"\x89PNG", "image/png", TYPE, "'image/png'"),
    Bad("an odd type", b"{}", "é" * 500, TYPE, "Content-Type"),
    Bad("a form in Latin-1", b"a=%E9", FORM, INVALID, "not UTF-8"),
    Bad("a form in raw Latin-1", b"a=\xe9", FORM, INVALID, "not UTF-8"),
    Bad("a percent sign", b"prompt=100% sure", FORM, INVALID, "%25"),
    Bad("half an escape", b"prompt=%4", FORM, INVALID, "%25"),
    Bad("a name's escape", b"%=1", FORM, INVALID, "%25"),
    Bad(
        "too many values",
        b'{"images": [' + b"1," * 20_001 + b"1]}",
        "application/json",
        LARGE,
        "20000",
    ),
    Bad("too many fields", b"&".join([b"a=1"] * 1001), FORM, LARGE, "1000"),
    Bad("a long name", b"a" * 257 + b"=1", FORM, INVALID, "257"),
    Bad("a deep name", b"a" + b"[b]" * 16 + b"=1", FORM, INVALID, "deeper than 16"),
    Bad("text and object", b"a=1&a[b]=2", FORM, Code.CONFLICTING_PARAMETERS, "`a`"),
    Bad("object and text", b"a[b]=1&a=2", FORM, Code.CONFLICTING_PARAMETERS, "`a`"),
    Bad("list and object", b"a[]=1&a[b]=2", FORM, Code.CONFLICTING_PARAMETERS, "`a`"),
    Bad("object and list", b"a[b]=1&a[]=2", FORM, Code.CONFLICTING_PARAMETERS, "`a`"),
    Bad("no boundary", field("a"), "multipart/form-data", INVALID, "no boundary"),
    Bad("an empty boundary", field("a"), "multipart/form-data; boundary=", INVALID, "no boundary"),
    Bad("a huge boundary", b"", "multipart/form-data; boundary=" + "x" * 999, INVALID, "multipart"),
    Bad("another boundary", field("a"), "multipart/form-data; boundary=abc", INVALID, "multipart"),
    Bad("not multipart", b"prompt=x", BOUNDARY, INVALID, "not valid multipart"),
    Bad("JSON called multipart", b"{}", BOUNDARY, INVALID, "not valid multipart"),
    Bad("no body", b"", BOUNDARY, INVALID, "closing boundary"),
    Bad("cut in the data", field("a")[:-12], BOUNDARY, INVALID, "closing boundary"),
    Bad("cut in a header", field("a")[:30], BOUNDARY, INVALID, "closing boundary"),
    Bad("cut before the end mark", field("a")[:-4], BOUNDARY, INVALID, "closing boundary"),
    Bad("a part without a name", part("X: y"), BOUNDARY, INVALID, "no name"),
    Bad("a value in Latin-1", field("a", b"\xe9"), BOUNDARY, INVALID, "`a` is not UTF-8"),
    Bad("headers without end", part("X: " + "y" * 10_000), BOUNDARY, INVALID, "header"),
    Bad("a thousand headers", part("X: y\r\n" * 1000 + "X: y"), BOUNDARY, INVALID, "header"),
)


@pytest.mark.parametrize("row", BAD, ids=lambda row: row.name)
@pytest.mark.parametrize("chunk_bytes", [11, 64 * 1024])
async def test_what_is_refused(row: Bad, chunk_bytes: int) -> None:
    with pytest.raises(Refusal) as refused:
        await read(row.body, row.content_type, chunk_bytes=chunk_bytes)
    assert refused.value.code is row.code
    assert row.says in refused.value.message
    assert len(refused.value.message) < 400
    assert "connection" not in refused.value.headers


async def test_a_name_in_latin_1_is_refused() -> None:
    body = b'--xyz\r\nContent-Disposition: form-data; name="\xe9"\r\n\r\nx\r\n--xyz--\r\n'
    with pytest.raises(Refusal, match="not UTF-8"):
        await read(body, BOUNDARY)


async def test_a_compressed_body_is_refused() -> None:
    one = Channel([b"\x1f\x8b"], {"content-type": "application/json", "content-encoding": "gzip"})
    with pytest.raises(Refusal, match="without Content-Encoding") as refused:
        await read_body(one.scope, one.receive, LIMITS)
    assert refused.value.code is TYPE


async def test_ten_thousand_parts_are_cut_off() -> None:
    body = b"--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 10_000 + b"--xyz--\r\n"
    one = channel(body, BOUNDARY, chunk_bytes=1024)
    with pytest.raises(Refusal, match="more than 1000 fields") as refused:
        await read_body(one.scope, one.receive, LIMITS)
    assert refused.value.code is LARGE
    assert one.taken_bytes < len(body) / 5


# ---- what is too large --------------------------------------------------------------------


def endless(content_type: str, first: bytes, more: bytes) -> Channel:
    """A chunked body that never ends."""

    def chunks() -> Iterator[bytes]:
        yield first
        yield from repeat(more)

    return Channel(chunks(), {"content-type": content_type, "transfer-encoding": "chunked"})


ENDLESS = {
    "JSON": ("application/json", b'{"prompt": "', b"x" * 1000),
    "a form": (FORM, b"prompt=", b"x" * 1000),
    "a multipart field": (BOUNDARY, field("a")[:-11], b"x" * 1000),
    "a multipart epilogue": (BOUNDARY, field("a"), b"x" * 1000),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_body_that_never_ends_is_cut_at_the_limit(name: str) -> None:
    one = endless(*ENDLESS[name])
    with pytest.raises(Refusal, match="request body") as refused:
        await read_body(one.scope, one.receive, SMALL)
    assert refused.value.code is LARGE
    assert refused.value.headers == {"connection": "close"}
    assert one.taken_bytes <= SMALL.request_bytes_max + 1000


async def test_a_body_declared_too_large_is_not_even_started() -> None:
    headers = {"content-type": "application/json", "content-length": str(129 * MIB)}
    one = Channel([b"{}"], headers)
    with pytest.raises(Refusal, match="128 MiB") as refused:
        await read_body(one.scope, one.receive, LIMITS)
    assert refused.value.headers == {"connection": "close"}
    assert one.taken_bytes == 0


@pytest.mark.parametrize(
    ("name", "size", "fits"),
    [
        ("image", 1_000, True),
        ("image", 1_001, False),
        ("image[]", 1_001, False),
        ("video", 1_001, True),
        ("video", 2_000, True),
        ("video", 2_001, False),
        ("unheard_of", 2_001, False),
    ],
)
async def test_each_file_has_its_own_limit(name: str, size: int, fits: bool) -> None:
    body, content_type = as_multipart([(name, ("f", b"x" * size, "")), ("more", "x" * 5_000)])
    one = channel(body, content_type, chunk_bytes=500)
    if fits:
        assert await read_body(one.scope, one.receive, SMALL)
        return
    with pytest.raises(Refusal, match="The file in") as refused:
        await read_body(one.scope, one.receive, SMALL)
    assert refused.value.code is LARGE
    assert refused.value.param == name.removesuffix("[]")
    assert one.taken_bytes < 4_000  # cut while it streams
    # The rest has a known length: the server may read it away and keep the connection.
    assert "connection" not in refused.value.headers


async def test_an_endless_file_also_ends_its_connection() -> None:
    first = part('Content-Disposition: form-data; name="image"; filename="a"')[:-11]
    one = endless(BOUNDARY, first, b"x" * 1000)
    with pytest.raises(Refusal, match="The file in `image`") as refused:
        await read_body(one.scope, one.receive, SMALL)
    assert refused.value.headers == {"connection": "close"}


@pytest.mark.parametrize("content_type", ["application/json", FORM, BOUNDARY])
async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(content_type: str) -> None:
    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": field("a")[:20], "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {"type": "http", "headers": [(b"content-type", content_type.encode())]}
    with pytest.raises(ClientDisconnect):
        await read_body(scope, receive, LIMITS)
    assert messages == []


async def test_a_body_that_stops_coming_is_given_up() -> None:
    limits = BodyLimits(idle_s_max=0.01)
    begun = iter([{"type": "http.request", "body": b'{"prompt": "x", "mo', "more_body": True}])

    async def receive() -> dict[str, Any]:
        for message in begun:
            return message
        return await asyncio.Future()

    with pytest.raises(Refusal) as refused:
        await read_body({"type": "http", "headers": []}, receive, limits)
    assert refused.value.code is Code.INVALID_VALUE
    assert "nothing more of it came for 0.01 s" in refused.value.message
    assert refused.value.headers == {"connection": "close"}
