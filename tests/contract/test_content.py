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

from reelgate.flows.accounts import create_key
from reelgate.flows.sweep import purge_expired
from tests.contract.asking import check_refusal
from tests.support.http import client_of, new_app
from tests.support.live import Account, Live
from tests.support.world import World


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
def shown(either: Live) -> Film:
    return Film(either.account())


def check_headers(shown: Film, headers: Mapping[str, str]) -> None:
    """What every answer with bytes of this film says."""
    assert headers["content-type"] == "video/mp4"
    assert headers["etag"] == shown.etag
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"].startswith("private")
    assert headers["content-disposition"] == f'attachment; filename="{shown.id}.mp4"'
    assert headers["x-request-id"].startswith("req_")


def test_the_whole_film(shown: Film) -> None:
    answer = shown.get()
    assert answer.status_code == 200
    check_headers(shown, answer.headers)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content[4:8] == b"ftyp"
    assert shown.etag == f'"{hashlib.sha256(shown.data).hexdigest()}"'


def test_head_says_the_same_without_the_bytes(shown: Film) -> None:
    answer = shown.account.http.head(shown.path)
    assert answer.status_code == 200
    check_headers(shown, answer.headers)
    assert int(answer.headers["content-length"]) == len(shown.data)
    assert answer.content == b""
    ranged = shown.account.http.head(shown.path, headers={"range": "bytes=0-9"})
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
def test_one_range(shown: Film, asked: str, first: int, end: int | None) -> None:
    answer = shown.get(range=asked)
    assert answer.status_code == 206
    piece = shown.data[first:end]
    assert answer.content == piece
    check_headers(shown, answer.headers)
    total = len(shown.data)
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
def test_what_is_not_one_range_gets_the_whole(shown: Film, asked: str) -> None:
    answer = shown.get(range=asked)
    assert answer.status_code == 200
    assert "content-range" not in answer.headers
    assert answer.content == shown.data


@pytest.mark.parametrize("asked", ["bytes={total}-", "bytes={total}-{total}", "bytes=-0"])
def test_a_range_behind_the_end(shown: Film, asked: str) -> None:
    answer = shown.get(range=asked.format(total=len(shown.data)))
    message = check_refusal(answer, 416, "invalid_value", "Range")
    assert str(len(shown.data)) in message
    assert answer.headers["content-range"] == f"bytes */{len(shown.data)}"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_range_of_this_very_film(shown: Film) -> None:
    same = shown.get(range="bytes=0-9", if_range=shown.etag)
    assert (same.status_code, len(same.content)) == (206, 10)
    for other in ('"other"', f"W/{shown.etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        changed = shown.get(range="bytes=0-9", if_range=other)
        assert (changed.status_code, changed.content) == (200, shown.data)


@pytest.mark.parametrize("known", ["{}", "W/{}", '"a", {} ,"b"', "*"])
def test_what_is_known_is_not_sent_again(shown: Film, known: str) -> None:
    for headers in ({}, {"range": "bytes=0-9"}):
        answer = shown.get(if_none_match=known.format(shown.etag), **headers)
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == shown.etag
        assert answer.headers["cache-control"].startswith("private")
    assert shown.get(if_none_match='"other"').status_code == 200


def test_a_film_in_pieces_is_the_film(shown: Film) -> None:
    size = 10_000
    pieces = [
        shown.get(range=f"bytes={n}-{n + size - 1}").content
        for n in range(0, len(shown.data), size)
    ]
    assert b"".join(pieces) == shown.data


# ---- variants -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "mime", "kind", "suffix"),
    [
        ("thumbnail", "image/webp", "WEBP", ".webp"),
        ("spritesheet", "image/jpeg", "JPEG", ".jpg"),
    ],
)
def test_a_picture_of_the_film(
    shown: Film, variant: str, mime: str, kind: str, suffix: str
) -> None:
    path = f"{shown.path}?variant={variant}"
    answer = shown.account.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == mime
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{shown.id}')
    assert answer.headers["content-disposition"].endswith(f'{suffix}"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["etag"] != shown.etag
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == kind
        picture.load()
    again = shown.account.http.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    piece = shown.account.http.get(path, headers={"range": "bytes=10-19"})
    assert (piece.status_code, piece.content) == (206, answer.content[10:20])
    assert shown.account.http.head(path).headers["content-length"] == str(len(answer.content))


def test_the_film_is_the_default_variant(shown: Film) -> None:
    assert shown.account.http.get(f"{shown.path}?variant=video").content == shown.data


# ---- signed links -------------------------------------------------------------------------


def test_a_link_needs_no_key(shown: Film, either: Live) -> None:
    parts = urlsplit(shown.link)
    assert f"{parts.scheme}://{parts.netloc}" == either.url
    assert set(parse_qs(parts.query)) == {"expires", "sig"}
    assert int(parse_qs(parts.query)["expires"][0]) == shown.task["expires_at"]
    answer = httpx.get(shown.link, trust_env=False)
    assert (answer.status_code, answer.content) == (200, shown.data)
    check_headers(shown, answer.headers)
    piece = httpx.get(shown.link, headers={"range": "bytes=-10"}, trust_env=False)
    assert (piece.status_code, piece.content) == (206, shown.data[-10:])
    assert httpx.head(shown.link, trust_env=False).status_code == 200
    thumbnail = httpx.get(f"{shown.link}&variant=thumbnail", trust_env=False)
    assert thumbnail.headers["content-type"] == "image/webp"


def test_a_link_is_named_as_the_caller_came(shown: Film) -> None:
    """Behind a name of its own a gateway answers with that name."""
    answer = shown.account.http.get(f"/v1/videos/{shown.id}", headers={"host": "films.example:81"})
    assert answer.json()["metadata"]["url"].startswith("http://films.example:81/v1/videos/")


def test_a_link_opens_one_film_until_its_time(shown: Film) -> None:
    other = shown.account.made(prompt="another boat")
    link = shown.link
    sig = parse_qs(urlsplit(link).query)["sig"][0]
    swapped = ("A" if sig[0] != "A" else "B") + sig[1:]
    bad = {
        "another film": link.replace(str(shown.id), other["id"]),
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
    assert shown.account.http.get(f"{path.path}?{path.query}").status_code == 200


def test_a_link_opens_nothing_else(shown: Film) -> None:
    query = urlsplit(shown.link).query
    client = httpx.Client(base_url=shown.account.live.url, trust_env=False)
    with client:
        for path in (f"/v1/videos/{shown.id}", f"/v1/videos/{shown.id}/events", "/v1/videos"):
            check_refusal(client.get(f"{path}?{query}"), 401, "invalid_api_key")
        check_refusal(client.delete(f"/v1/videos/{shown.id}?{query}"), 401, "invalid_api_key")


# ---- no bytes -----------------------------------------------------------------------------


def test_there_are_no_bytes_before_the_end(api: Account) -> None:
    task = api.create(prompt="[sandbox:slow=600]")
    answer = api.http.get(f"/v1/videos/{task['id']}/content")
    message = check_refusal(answer, 404, "video_not_ready")
    assert answer.headers["x-should-retry"] == "false"
    assert f"GET /v1/videos/{task['id']}" in message
    api.cancelled(task["id"])
    message = check_refusal(
        api.http.get(f"/v1/videos/{task['id']}/content"), 404, "video_not_ready"
    )
    assert "failed" in message
    assert "cancelled" in message


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


async def test_a_film_and_its_link_die_on_time(world: World) -> None:
    """On a clock of the test's own: seven days after completion, to the second."""
    task = await world.live(await world.submit())
    assert task.expires_at_ms is not None
    assert task.ended_at_ms is not None
    key = (await create_key(world.gateway, world.caller.account_id)).secret
    app = new_app(world.gateway)
    async with client_of(app, None) as anyone, client_of(app, key) as owner:
        answer = (await owner.get(f"/v1/videos/{task.id}")).json()
        link, content = answer["metadata"]["url"], f"/v1/videos/{task.id}/content"
        assert task.expires_at_ms == task.ended_at_ms + 7 * 86_400_000
        assert answer["expires_at"] == task.expires_at_ms // 1000
        last_moment_ms = answer["expires_at"] * 1000 - 1
        world.clock.advance_ms(last_moment_ms - world.clock.now_ms())
        assert (await anyone.get(link)).status_code == 200
        assert (await owner.get(content)).status_code == 200
        world.clock.advance_ms(1_001)
        check_refusal(await anyone.get(link), 401, "invalid_api_key")
        check_refusal(await owner.get(content), 410, "video_expired")
        assert await purge_expired(world.gateway) == 1
        check_refusal(await owner.get(content), 410, "video_expired")
        check_refusal(await owner.get(f"{content}?variant=thumbnail"), 410, "video_expired")
        after = (await owner.get(f"/v1/videos/{task.id}")).json()
    assert after["status"] == "completed"
    assert after["metadata"] == {}
    assert not world.gateway.media.path(task.result.key if task.result else "").exists()
