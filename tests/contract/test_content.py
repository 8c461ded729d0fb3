"""The bytes: ranges, conditions, variants, signed links (contract, section 1)."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from tests.contract.asking import check_refusal
from tests.support.live import Account, Live

Task = dict[str, object]


class Film:
    """A finished task and its bytes."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.task = account.made(duration=2)
        self.id = self.task["id"]
        self.path = f"/v1/videos/{self.id}/content"
        whole = account.http.get(self.path)
        assert whole.status_code == 200
        self.data = whole.content
        self.etag = whole.headers["etag"]
        self.link: str = self.task["metadata"]["url"]

    def get(self, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.account.http.get(self.path, headers=names)


@pytest.fixture(scope="module")
def film(either: Live) -> Film:
    return Film(either.account())


def check_headers(film: Film, headers: Mapping[str, str]) -> None:
    """What every answer with bytes of this film says."""
    assert headers["content-type"] == "video/mp4"
    assert headers["etag"] == film.etag
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"].startswith("private")
    assert headers["content-disposition"] == f'attachment; filename="{film.id}.mp4"'
    assert headers["x-request-id"].startswith("req_")


def test_the_whole_film(film: Film) -> None:
    answer = film.get()
    assert answer.status_code == 200
    check_headers(film, answer.headers)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content[4:8] == b"ftyp"
    assert film.etag == f'"{hashlib.sha256(film.data).hexdigest()}"'


def test_head_says_the_same_without_the_bytes(film: Film) -> None:
    answer = film.account.http.head(film.path)
    assert answer.status_code == 200
    check_headers(film, answer.headers)
    assert int(answer.headers["content-length"]) == len(film.data)
    assert answer.content == b""
    ranged = film.account.http.head(film.path, headers={"range": "bytes=0-9"})
    assert (ranged.status_code, ranged.headers["content-length"]) == (206, "10")


RANGES = {
    "a first piece": ("bytes=0-99", 0, 100),
    "one byte": ("bytes=5-5", 5, 6),
    "what Safari asks first": ("bytes=0-1", 0, 2),
    "from the middle on": ("bytes=1000-", 1000, None),
    "from the start on": ("bytes=0-", 0, None),
    "the last bytes": ("bytes=-100", -100, None),
    "more last bytes than there are": ("bytes=-99999999999", 0, None),
    "over the end": ("bytes=10-99999999999999", 10, None),
    "the very last byte": ("bytes=-1", -1, None),
    "in another case": ("Bytes=3-4", 3, 5),
}


@pytest.mark.parametrize(("asked", "first", "end"), RANGES.values(), ids=RANGES)
def test_one_range(film: Film, asked: str, first: int, end: int | None) -> None:
    answer = film.get(range=asked)
    assert answer.status_code == 206
    piece = film.data[first:end]
    assert answer.content == piece
    check_headers(film, answer.headers)
    total = len(film.data)
    begin = first % total
    said = f"bytes {begin}-{begin + len(piece) - 1}/{total}"
    assert answer.headers["content-range"] == said
    assert int(answer.headers["content-length"]) == len(piece)


WHOLE = {
    "several": "bytes=0-1,5-6",
    "several with blanks": "bytes=0-1, -5",
    "another unit": "lines=0-1",
    "no numbers": "bytes=-",
    "not a range": "bytes=a-b",
    "backwards": "bytes=9-3",
    "numbers without end": "bytes=0-" + "9" * 400,
    "nothing": "bytes=",
}


@pytest.mark.parametrize("asked", WHOLE.values(), ids=WHOLE)
def test_what_is_not_one_range_gets_the_whole(film: Film, asked: str) -> None:
    answer = film.get(range=asked)
    assert answer.status_code == 200
    assert "content-range" not in answer.headers
    assert answer.content == film.data


@pytest.mark.parametrize("asked", ["bytes={total}-", "bytes={total}-{total}", "bytes=-0"])
def test_a_range_behind_the_end(film: Film, asked: str) -> None:
    answer = film.get(range=asked.format(total=len(film.data)))
    message = check_refusal(answer, 416, "invalid_value", "Range")
    assert str(len(film.data)) in message
    assert answer.headers["content-range"] == f"bytes */{len(film.data)}"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_range_of_this_very_film(film: Film) -> None:
    same = film.get(range="bytes=0-9", if_range=film.etag)
    assert (same.status_code, len(same.content)) == (206, 10)
    for other in ('"other"', f"W/{film.etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        changed = film.get(range="bytes=0-9", if_range=other)
        assert (changed.status_code, changed.content) == (200, film.data)


@pytest.mark.parametrize("known", ["{}", "W/{}", '"a", {} ,"b"', "*"])
def test_what_is_known_is_not_sent_again(film: Film, known: str) -> None:
    for headers in ({}, {"range": "bytes=0-9"}):
        answer = film.get(if_none_match=known.format(film.etag), **headers)
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == film.etag
        assert answer.headers["cache-control"].startswith("private")
    assert film.get(if_none_match='"other"').status_code == 200


def test_a_film_in_pieces_is_the_film(film: Film) -> None:
    size = 10_000
    pieces = [
        film.get(range=f"bytes={n}-{n + size - 1}").content for n in range(0, len(film.data), size)
    ]
    assert b"".join(pieces) == film.data


# ---- variants -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "mime", "kind", "suffix"),
    [
        ("thumbnail", "image/webp", "WEBP", ".webp"),
        ("spritesheet", "image/jpeg", "JPEG", ".jpg"),
    ],
)
def test_a_picture_of_the_film(film: Film, variant: str, mime: str, kind: str, suffix: str) -> None:
    path = f"{film.path}?variant={variant}"
    answer = film.account.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == mime
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{film.id}')
    assert answer.headers["content-disposition"].endswith(f'{suffix}"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["etag"] != film.etag
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == kind
        picture.load()
    again = film.account.http.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    piece = film.account.http.get(path, headers={"range": "bytes=10-19"})
    assert (piece.status_code, piece.content) == (206, answer.content[10:20])
    assert film.account.http.head(path).headers["content-length"] == str(len(answer.content))


def test_the_film_is_the_default_variant(film: Film) -> None:
    assert film.account.http.get(f"{film.path}?variant=video").content == film.data


# ---- signed links -------------------------------------------------------------------------


def test_a_link_needs_no_key(film: Film, either: Live) -> None:
    parts = urlsplit(film.link)
    assert f"{parts.scheme}://{parts.netloc}" == either.url
    assert set(parse_qs(parts.query)) == {"expires", "sig"}
    assert int(parse_qs(parts.query)["expires"][0]) == film.task["expires_at"]
    answer = httpx.get(film.link, trust_env=False)
    assert (answer.status_code, answer.content) == (200, film.data)
    check_headers(film, answer.headers)
    piece = httpx.get(film.link, headers={"range": "bytes=-10"}, trust_env=False)
    assert (piece.status_code, piece.content) == (206, film.data[-10:])
    assert httpx.head(film.link, trust_env=False).status_code == 200
    thumbnail = httpx.get(f"{film.link}&variant=thumbnail", trust_env=False)
    assert thumbnail.headers["content-type"] == "image/webp"


def test_a_link_is_named_as_the_caller_came(film: Film) -> None:
    """Behind a name of its own a gateway answers with that name."""
    answer = film.account.http.get(f"/v1/videos/{film.id}", headers={"host": "films.example:81"})
    assert answer.json()["metadata"]["url"].startswith("http://films.example:81/v1/videos/")


def test_a_link_opens_one_film_until_its_time(film: Film) -> None:
    other = film.account.made(prompt="another boat")
    link = film.link
    sig = parse_qs(urlsplit(link).query)["sig"][0]
    swapped = ("A" if sig[0] != "A" else "B") + sig[1:]
    bad = {
        "another film": link.replace(str(film.id), other["id"]),
        "later": re.sub(r"expires=(\d+)", lambda m: f"expires={int(m[1]) + 1}", link),
        "for ever": re.sub(r"expires=\d+", f"expires={10**15}", link),
        "without an end": re.sub(r"expires=\d+&", "", link),
        "no number": re.sub(r"expires=\d+", "expires=1e9", link),
        "another signature": link.replace(sig, swapped),
        "half a signature": link.replace(sig, sig[: len(sig) // 2]),
        "no signature": link.replace(f"&sig={sig}", ""),
        "a signature beyond ASCII": link.replace(sig, "%F0%9F%8E%AC" * 8),
    }
    for what, url in bad.items():
        answer = httpx.get(url, trust_env=False)
        assert answer.status_code == 401, what
        check_refusal(answer, 401, "invalid_api_key")
    # A key opens it all the same, whatever else the link says.
    path = urlsplit(bad["another signature"])
    assert film.account.http.get(f"{path.path}?{path.query}").status_code == 200


def test_a_link_opens_nothing_else(film: Film) -> None:
    query = urlsplit(film.link).query
    client = httpx.Client(base_url=film.account.live.url, trust_env=False)
    with client:
        for path in (f"/v1/videos/{film.id}", f"/v1/videos/{film.id}/events", "/v1/videos"):
            check_refusal(client.get(f"{path}?{query}"), 401, "invalid_api_key")
        check_refusal(client.delete(f"/v1/videos/{film.id}?{query}"), 401, "invalid_api_key")


# ---- no bytes -----------------------------------------------------------------------------


def test_there_are_no_bytes_before_the_end(api: Account) -> None:
    task = api.create(prompt="[sandbox:slow=0.5][sandbox:fail]")
    answer = api.http.get(f"/v1/videos/{task['id']}/content")
    message = check_refusal(answer, 404, "video_not_ready")
    assert answer.headers["x-should-retry"] == "false"
    assert f"GET /v1/videos/{task['id']}" in message
    api.ended(task["id"])
    message = check_refusal(
        api.http.get(f"/v1/videos/{task['id']}/content"), 404, "video_not_ready"
    )
    assert "failed" in message
    assert "task_failed" in message


def test_a_deleted_film_is_gone(either: Live) -> None:
    api = either.account()
    task = api.made()
    link = task["metadata"]["url"]
    thumbnail = f"/v1/videos/{task['id']}/content?variant=thumbnail"
    assert api.http.get(thumbnail).status_code == 200
    answer = api.http.delete(f"/v1/videos/{task['id']}")
    assert answer.status_code == 200
    assert answer.json() == {"id": task["id"], "object": "video.deleted", "deleted": True}
    check_refusal(api.http.get(f"/v1/videos/{task['id']}/content"), 410, "video_deleted")
    check_refusal(api.http.get(thumbnail), 410, "video_deleted")
    check_refusal(httpx.get(link, trust_env=False), 410, "video_deleted")
    check_refusal(api.http.get(f"/v1/videos/{task['id']}"), 404, "task_not_found")
    check_refusal(api.http.delete(f"/v1/videos/{task['id']}"), 404, "task_not_found")
    check_refusal(api.http.post(f"/v1/videos/{task['id']}/cancel"), 404, "task_not_found")
    assert api.tasks() == []
    assert api.balance() == ("99.95", "0.00")  # what was made is paid for
    kept = list((either.folder / "data" / "media").rglob(f"*{task['id']}*"))
    assert kept == []
