"""One request, however it is written, is one order (contract, sections 2, 3 and 6).

Each row says a request in several ways. The first makes a task under an Idempotency-Key; every
other one, under the same key, must find that very task: had it been read differently, it would be
422. Tasks fail at once by a tag, so nothing is rendered.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.asking import Ask, check_refusal
from tests.support.live import Account, Live

PROMPT = "a paper boat [sandbox:refuse]"
BASE = {"model": "grok-imagine", "prompt": PROMPT}
PICTURE, OTHER = "https://pictures.example/a.png", "https://pictures.example/b.png"
CLIP = "https://clips.example/a.mp4"


@dataclass(frozen=True)
class Same:
    what: str
    asks: tuple[Ask, ...]
    unlike: tuple[Ask, ...] = ()


def as_json(**fields: Any) -> Ask:
    return Ask(json={**BASE, **fields})


def as_form(**fields: str) -> Ask:
    """Multipart, as the OpenAI SDKs send it even without a file."""
    return Ask(form={**BASE, **fields})


def as_pairs(*pairs: tuple[str, str]) -> Ask:
    """Urlencoded, as `curl -d` sends it."""
    return Ask(pairs=(*BASE.items(), *pairs))


def brackets(fields: Mapping[str, str]) -> Ask:
    return Ask(form={**BASE, **fields})


def at(path: str, ask: Ask) -> Ask:
    return Ask(ask.method, path, ask.json, ask.form, ask.files, ask.pairs, ask.content)


def without_model(ask: Ask) -> Ask:
    assert ask.json is not None
    return Ask(json={name: value for name, value in ask.json.items() if name != "model"})


RED = "red.png"
JSON_UTF8 = {"content-type": "application/json; charset=utf-8"}
TEXT = {**BASE, "duration": 6}

TABLE = [
    Same(
        "text to video",
        (
            as_json(duration=6),
            as_json(duration="6"),
            as_json(duration="06"),
            as_json(seconds="6"),
            as_json(seconds=6),
            as_json(extra_body={"duration": 6}),
            as_json(duration=6, operation="text_to_video"),
            as_json(duration=6, extra_body={"operation": "text_to_video"}),
            as_json(duration=6, extra_body='{"operation": "text_to_video"}'),
            as_json(duration=6, operation="text_to_video", extra_body={"duration": "6"}),
            as_json(duration=6, seconds=None, image=None, images=None, video=None, user=None),
            as_json(duration=6, extra_body={}, metadata={}),
            as_form(duration="6"),
            as_form(seconds="6"),
            brackets({"seconds": "6", "extra_body[operation]": "text_to_video"}),
            brackets({"seconds": "6", "extra_body": '{"operation": "text_to_video"}'}),
            brackets({"extra_body[seconds]": "6", "operation": "text_to_video"}),
            as_pairs(("seconds", "6")),
            as_pairs(("duration", "6"), ("extra_body[operation]", "text_to_video")),
            at("/v1/videos/generations", as_json(duration=6)),
            at("/v1/video/generations", as_form(duration="6")),
            Ask(content=json.dumps(TEXT).encode(), headers=JSON_UTF8),
            Ask(content=json.dumps(TEXT, indent=3, ensure_ascii=False).encode()),
            Ask(content=b"\xef\xbb\xbf" + json.dumps(TEXT).encode()),
            Ask(content=json.dumps(dict(reversed(TEXT.items()))).encode()),
        ),
        (as_json(duration=7), as_json(duration=6, size="720p"), as_json(duration=6, user="me")),
    ),
    Same(
        "size and shape",
        (
            as_json(duration=2, size="720p", aspect_ratio="9:16"),
            as_json(duration=2, resolution="720p", aspect_ratio="9:16"),
            as_json(duration=2, size="720p", resolution="720p", aspect_ratio="9:16"),
            as_form(seconds="2", size="720p", aspect_ratio="9:16"),
            brackets({"seconds": "2", "extra_body[resolution]": "720p", "aspect_ratio": "9:16"}),
        ),
        (as_json(duration=2, size="720p", aspect_ratio="16:9"),),
    ),
    Same(
        "a picture by link",
        (
            as_json(duration=2, image=PICTURE),
            as_json(duration=2, image={"url": PICTURE}),
            as_json(duration=2, image_url=PICTURE),
            as_json(duration=2, image_url={"url": PICTURE}),
            as_json(duration=2, input_reference=PICTURE),
            as_json(duration=2, input_reference={"image_url": PICTURE}),
            as_json(duration=2, image=PICTURE, image_url=PICTURE),
            as_json(duration=2, extra_body={"image": PICTURE}),
            as_form(duration="2", image=PICTURE),
            as_form(duration="2", input_reference=PICTURE),
            brackets({"duration": "2", "image[url]": PICTURE}),
            brackets({"duration": "2", "input_reference[image_url]": PICTURE}),
            brackets({"duration": "2", "image": json.dumps({"url": PICTURE})}),
            as_pairs(("duration", "2"), ("image[url]", PICTURE)),
        ),
        (as_json(duration=2, image=OTHER), as_json(duration=2, images=[PICTURE])),
    ),
    Same(
        "several pictures by link",
        (
            as_json(duration=2, images=[PICTURE, OTHER]),
            as_json(duration=2, images=[{"url": PICTURE}, OTHER]),
            as_json(duration=2, image_urls=[PICTURE, OTHER]),
            as_json(duration=2, reference_images=[{"url": PICTURE}, {"url": OTHER}]),
            as_json(duration=2, images=json.dumps([PICTURE, OTHER])),
            as_form(duration="2", images=json.dumps([PICTURE, {"url": OTHER}])),
            as_pairs(("duration", "2"), ("images[]", PICTURE), ("images[]", OTHER)),
            as_pairs(("duration", "2"), ("images", PICTURE), ("images", OTHER)),
            as_pairs(("duration", "2"), ("images[][url]", PICTURE), ("images[][url]", OTHER)),
            as_pairs(("duration", "2"), ("image_urls", PICTURE), ("image_urls", OTHER)),
            as_pairs(
                ("duration", "2"),
                ("extra_body[images][]", PICTURE),
                ("extra_body[images][]", OTHER),
            ),
        ),
        (as_json(duration=2, images=[OTHER, PICTURE]), as_json(duration=2, images=[PICTURE])),
    ),
    Same(
        "an edit of a clip by link",
        (
            as_json(video=CLIP, extra_body={"operation": "edit_video", "input_video_seconds": 8}),
            as_json(video={"url": CLIP}, operation="edit_video", input_video_seconds=8),
            as_json(videos=[CLIP], input_video_seconds="8"),
            as_json(videos=[{"url": CLIP}], extra_body={"input_video_seconds": "8"}),
            as_form(video=CLIP, operation="edit_video", input_video_seconds="8"),
            brackets(
                {
                    "video[url]": CLIP,
                    "extra_body[operation]": "edit_video",
                    "extra_body[input_video_seconds]": "8",
                }
            ),
            brackets({"videos[]": CLIP, "input_video_seconds": "8"}),
            brackets({"videos": CLIP, "input_video_seconds": "8"}),
            at("/v1/videos/edits", as_json(video={"url": CLIP}, input_video_seconds=8)),
            at("/v1/videos/edits", brackets({"video[url]": CLIP, "input_video_seconds": "8"})),
            at(
                "/v1/videos/edits",
                without_model(as_json(video={"url": CLIP}, input_video_seconds=8)),
            ),
        ),
        (as_json(video=CLIP), as_json(video=CLIP, input_video_seconds=7)),
    ),
    Same(
        "an extension of a clip by link",
        (
            as_json(video=CLIP, duration=6, extra_body={"operation": "video_extend"}),
            as_json(video=CLIP, seconds="6"),
            brackets({"video[url]": CLIP, "seconds": "6", "extra_body[operation]": "video_extend"}),
            at("/v1/videos/extensions", as_json(video=CLIP, seconds="6")),
            at("/v1/videos/extensions", brackets({"video[url]": CLIP, "seconds": "6"})),
        ),
        (as_json(video=CLIP, duration=5),),
    ),
    Same(
        "user and metadata",
        (
            as_json(duration=1, user="u", metadata={"a": "1", "b": "ü"}),
            as_json(duration=1, user="u", metadata={"b": "ü", "a": "1"}),
            as_json(duration=1, user="u", metadata='{"a": "1", "b": "ü"}'),
            brackets({"duration": "1", "user": "u", "metadata[a]": "1", "metadata[b]": "ü"}),
            as_form(duration="1", user="u", metadata='{"a": "1", "b": "ü"}'),
            as_pairs(("duration", "1"), ("user", "u"), ("metadata[b]", "ü"), ("metadata[a]", "1")),
        ),
        (as_json(duration=1, user="u", metadata={"a": "1"}),),
    ),
]


@pytest.fixture(scope="module")
def account(live: Live) -> Account:
    return live.account()


def keyed(ask: Ask, key: str) -> Ask:
    headers = {**ask.headers, "idempotency-key": key}
    if ask.content is not None:
        headers.setdefault("content-type", "application/json")
    return Ask(ask.method, ask.path, ask.json, ask.form, ask.files, ask.pairs, ask.content, headers)


@pytest.mark.parametrize("same", [pytest.param(row, id=row.what) for row in TABLE])
def test_all_ways_to_say_it_are_one_order(same: Same, account: Account) -> None:
    key = uuid4().hex
    first = keyed(same.asks[0], key).send(account.http)
    assert first.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers
    for ask in same.asks[1:]:
        again = keyed(ask, key).send(account.http)
        assert again.status_code == 200, f"{ask}: {again.text}"
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["id"] == first.json()["id"]
    for ask in same.unlike:
        check_refusal(
            keyed(ask, key).send(account.http), 422, "idempotency_key_reused", "Idempotency-Key"
        )


def test_the_bytes_of_a_picture_are_what_counts(account: Account, inputs: Path) -> None:
    data = (inputs / RED).read_bytes()
    encoded = base64.b64encode(data).decode()
    key = uuid4().hex
    asks = (
        Ask(form={**BASE, "duration": "2"}, files=(("image", RED),)),
        Ask(form={**BASE, "duration": "2"}, files=(("input_reference", RED),)),
        Ask(form={**BASE, "duration": "2"}, files=(("image_url", RED),)),
        Ask(form={**BASE, "extra_body[seconds]": "2"}, files=(("image[url]", data),)),
        as_json(duration=2, image=f"data:image/png;base64,{encoded}"),
        as_json(duration=2, image={"url": f"data:image/jpeg;base64,{encoded}"}),
        as_json(duration=2, input_reference={"image_url": f"DATA:;BASE64,{encoded}"}),
        as_form(duration="2", image=f"data:application/octet-stream;base64,{encoded}"),
    )
    ids = set()
    for ask in asks:
        answer = keyed(ask, key).send(account.http, inputs)
        assert answer.status_code == 200, f"{ask}: {answer.text}"
        ids.add(answer.json()["id"])
    assert len(ids) == 1


def test_several_files_are_several_references(account: Account, inputs: Path) -> None:
    names = ("red.png", "green.jpg", "blue.webp")
    uris = [
        "data:;base64," + base64.b64encode((inputs / name).read_bytes()).decode() for name in names
    ]
    key = uuid4().hex
    form = {**BASE, "duration": "2"}
    asks = (
        Ask(form=form, files=tuple(("images", name) for name in names)),
        Ask(form=form, files=tuple(("images[]", name) for name in names)),
        Ask(form=form, files=tuple(("reference_images[]", name) for name in names)),
        Ask(form={**form, "images[]": uris[0]}, files=tuple(("images[]", n) for n in names[1:])),
        as_json(duration=2, images=uris),
        as_json(duration=2, images=[{"url": uri} for uri in uris]),
    )
    ids = set()
    for ask in asks:
        answer = keyed(ask, key).send(account.http, inputs)
        assert answer.status_code == 200, f"{ask}: {answer.text}"
        assert answer.json()["operation"] == "reference_to_video"
        ids.add(answer.json()["id"])
    assert len(ids) == 1


def test_fields_may_come_as_typed_parts(account: Account) -> None:
    """aiperf puts `Content-Type: text/plain` on ordinary fields, before Content-Disposition."""
    parts = "".join(
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in {**BASE, "seconds": "1"}.items()
    )
    answer = account.http.post(
        "/v1/videos",
        content=f"{parts}--b--\r\nwhat comes after is not read".encode(),
        headers={"content-type": 'multipart/form-data; boundary="b"'},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["prompt"] == PROMPT


def test_an_empty_file_field_is_as_good_as_none(account: Account) -> None:
    """What a browser sends for a file input that nobody filled."""
    answer = account.http.post(
        "/v1/videos",
        content=(
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngrok-imagine\r\n'
            b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx [sandbox:refuse]\r\n'
            b'--b\r\nContent-Disposition: form-data; name="seconds"\r\n\r\n1\r\n'
            b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n"
        ),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["operation"] == "text_to_video"


def test_a_chunked_body_is_read_like_any_other(account: Account) -> None:
    text = json.dumps({**BASE, "duration": 1, "image": PICTURE}).encode()
    pieces = (text[n : n + 7] for n in range(0, len(text), 7))
    answer = account.http.post(
        "/v1/videos", content=pieces, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["operation"] == "image_to_video"
