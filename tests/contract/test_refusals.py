"""Every rule of the contract that refuses something, one row each: what is sent, what is said.

After each answer nothing is stored and nothing is charged. Rows are grouped by the contract's
sections; `says` are pieces that the message must hold.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.asking import Ask, Untouched, check_refusal, create, upload
from tests.support.live import Account, Live

MIB = 1024 * 1024
PICTURE = "https://pictures.example/a.png"
CLIP = "https://clips.example/a.mp4"
UNKNOWN = "task_" + "a" * 32
GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00"


@dataclass(frozen=True)
class Row:
    rule: str
    ask: Ask
    status: int
    code: str
    param: str | None = None
    says: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def raw(content: str | bytes, content_type: str = "application/json") -> Ask:
    data = content.encode() if isinstance(content, str) else content
    return Ask(content=data, headers={"content-type": content_type})


def get(path: str) -> Ask:
    return Ask("GET", path)


def data_uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def edit(**fields: Any) -> Ask:
    return create(**{"video": CLIP, "duration": None, **fields})


def extend(**fields: Any) -> Ask:
    return create(**{"video": CLIP, "duration": 2, **fields})


BAD = "invalid_value"
MISSING = "missing_required_parameter"
CLASH = "conflicting_parameters"
NOT_TAKEN = "unsupported_parameter"
NO_JSON = "invalid_json"
UNKNOWN_NAME = "unknown_parameter"
TOO_LARGE = "request_too_large"

ROUTES = [
    Row("no such route", get("/v1/video"), 404, "route_not_found", None, ("/v1/videos",)),
    Row("no slash at the end", get("/v1/videos/"), 404, "route_not_found"),
    Row(
        "nothing below the content", get(f"/v1/videos/{UNKNOWN}/content/x"), 404, "route_not_found"
    ),
    Row("the root", get("/"), 404, "route_not_found"),
    *[
        Row(
            f"`{word}` is never a task id",
            get(f"/v1/videos/{word}"),
            405,
            "method_not_allowed",
            None,
            ("POST",),
            {"allow": "POST"},
        )
        for word in ("generations", "edits", "extensions", "estimate")
    ],
    Row(
        "a method that a route lacks",
        Ask("PUT", "/v1/videos", json={}),
        405,
        "method_not_allowed",
        None,
        ("GET", "POST"),
        {"allow": "GET, HEAD, POST"},
    ),
    *[
        Row(f"unknown task: {method} {path}", Ask(method, path), 404, "task_not_found")
        for method, path in (
            ("GET", f"/v1/videos/{UNKNOWN}"),
            ("GET", f"/v1/videos/generations/{UNKNOWN}"),
            ("GET", f"/v1/video/generations/{UNKNOWN}"),
            ("GET", f"/v1/videos/{UNKNOWN}/content"),
            ("GET", f"/v1/videos/{UNKNOWN}/events"),
            ("DELETE", f"/v1/videos/{UNKNOWN}"),
            ("POST", f"/v1/videos/{UNKNOWN}/cancel"),
            ("GET", "/v1/videos/task_xxx"),
            ("GET", "/v1/videos/task_" + "A" * 32),
            ("GET", "/v1/videos/video_" + "a" * 32),
            ("GET", "/v1/videos/%00"),
            ("GET", "/v1/videos/%ff%fe"),
            ("GET", "/v1/videos/" + "9" * 5000),
            ("GET", f"/v1/videos/{UNKNOWN}%27%20OR%201=1"),
        )
    ],
    Row(
        "remix of an unknown task",
        Ask(path=f"/v1/videos/{UNKNOWN}/remix", json={"prompt": "x"}),
        404,
        "task_not_found",
    ),
    *[
        Row(
            f"list: limit {given}",
            get(f"/v1/videos?limit={given}"),
            400,
            BAD,
            "limit",
            ("1 to 100",),
        )
        for given in ("0", "101", "-1", "1.5", "ten", "%D9%A3", "1e1", "99999999999999999999")
    ],
    Row("list: order", get("/v1/videos?order=up"), 400, BAD, "order", ("asc", "desc")),
    Row("list: after an unknown task", get(f"/v1/videos?after={UNKNOWN}"), 400, BAD, "after"),
    Row("list: after what is no id", get("/v1/videos?after=%00%27"), 400, BAD, "after"),
    Row(
        "models: unknown",
        get("/v1/models/sora-2"),
        404,
        "model_not_found",
        "model",
        ("sora-2", "grok-imagine"),
    ),
    *[
        Row(
            f"a video model at {path}",
            Ask(path=path, json={"model": "grok-imagine", "prompt": "a boat at dawn"}),
            400,
            "wrong_endpoint",
            "model",
            ("POST /v1/videos", '"model": "grok-imagine"', '"prompt": "a boat at dawn"'),
        )
        for path in ("/v1/images/generations", "/v1/images/edits")
    ],
    Row(
        "an unknown model at an image endpoint",
        Ask(path="/v1/images/generations", json={"model": "dall-e-3", "prompt": "x"}),
        404,
        "model_not_found",
        "model",
        ("dall-e-3", "grok-imagine"),
    ),
    Row(
        "content: unknown variant",
        get(f"/v1/videos/{UNKNOWN}/content?variant=gif"),
        400,
        BAD,
        "variant",
        ("gif", "video", "thumbnail", "spritesheet"),
    ),
]

GOOD_JSON = '{"model": "grok-imagine", "prompt": "x", "duration": 1}'

ENCODINGS = [
    Row("text/plain", raw(GOOD_JSON, "text/plain"), 415, "unsupported_media_type", None,
        ("text/plain", "application/json", "multipart/form-data")),
    Row("no compression", Ask(content=b"\x1f\x8b", headers={"content-encoding": "gzip"}), 415,
        "unsupported_media_type", None, ("Content-Encoding",)),
    Row("multipart without a boundary", raw("--x--", "multipart/form-data"), 400, BAD, None,
        ("boundary",)),
    Row("multipart that is something else", raw("hello", "multipart/form-data; boundary=x"), 400,
        BAD, None, ("multipart",)),
    Row("multipart that is cut off", raw(
        '--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nhel',
        "multipart/form-data; boundary=x"), 400, BAD, None, ("boundary",)),
    Row("a part without a name", raw(
        "--x\r\nContent-Disposition: form-data\r\n\r\nhel\r\n--x--\r\n",
        "multipart/form-data; boundary=x"), 400, BAD, None, ("name",)),
    Row("multipart labelled as JSON", raw("--x\r\nContent-Disposition: form-data"), 400, NO_JSON,
        None, ("multipart",)),
    Row("JSON labelled as a form", raw(GOOD_JSON, "application/x-www-form-urlencoded"), 400, BAD,
        None, ("application/json",)),
    Row("an empty body", raw(""), 400, NO_JSON, None, ("empty",)),
    Row("a JSON list", raw("[]"), 400, NO_JSON, None, ("object",)),
    Row("a JSON string", raw('"x"'), 400, NO_JSON, None, ("object",)),
    Row("a JSON null", raw("null"), 400, NO_JSON, None, ("object",)),
    Row("JSON that is cut off", raw(GOOD_JSON[:30]), 400, NO_JSON, None, ("cut off",)),
    Row("two JSON values", raw(GOOD_JSON * 2), 400, NO_JSON),
    Row("JSON with a comma too many", raw('{"model": "grok-imagine",}'), 400, NO_JSON, None,
        ("line 1", "column")),
    Row("NaN", raw('{"model": "grok-imagine", "prompt": "x", "duration": NaN}'), 400, NO_JSON),
    Row("Infinity", raw('{"model": "grok-imagine", "prompt": "x", "duration": -Infinity}'), 400,
        NO_JSON),
    Row("10^30 seconds", raw('{"model": "grok-imagine", "prompt": "x", "duration": 1e30}'), 400,
        BAD, "duration", ("whole number",)),
    Row("10^30 seconds in digits", create(duration=10**30), 400, BAD, "duration"),
    Row("10^30 seconds as text", create(duration=str(10**30)), 400, BAD, "duration"),
    Row("10^400 seconds", raw('{"model": "grok-imagine", "prompt": "x", "duration": 1e400}'), 400,
        NO_JSON, None, ("out of range",)),
    Row("a name given twice", raw('{"prompt": "x", "model": "grok-imagine", "prompt": "y"}'), 400,
        NO_JSON, None, ("prompt", "twice")),
    Row("a name given twice, inside", raw('{"video": {"url": "x", "\\u0075rl": "y"}}'), 400,
        NO_JSON, None, ("url", "twice")),
    Row("100 000 levels of lists", raw('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), 400, NO_JSON,
        None, ("nested",)),
    Row("100 000 levels of objects", raw('{"a":' * 100_000 + "1" + "}" * 100_000), 400, NO_JSON,
        None, ("nested",)),
    Row("100 000 levels, never closed", raw("[" * 100_000), 400, NO_JSON),
    Row("UTF-16", raw(GOOD_JSON.encode("utf-16")), 400, NO_JSON),
    Row("Latin-1", raw('{"prompt": "é"}'.encode("latin-1")), 400, NO_JSON, None, ("UTF-8",)),
    Row("half a surrogate pair", raw('{"prompt": "\\ud83d"}'), 400, NO_JSON, None, ("surrogate",)),
    Row("Latin-1 in a form", Ask(content=b"prompt=%E9", headers={
        "content-type": "application/x-www-form-urlencoded"}), 400, BAD, "prompt", ("UTF-8",)),
    Row("Latin-1 in multipart", raw(
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xe9\r\n--x--\r\n',
        "multipart/form-data; boundary=x"), 400, BAD, "prompt", ("UTF-8",)),
    Row("a form too deep", Ask(pairs=(("a" + "[b]" * 40, "x"),)), 400, BAD, "a", ("nested",)),
    Row("plain and bracketed", Ask(pairs=(("image", PICTURE), ("image[url]", PICTURE))), 400,
        CLASH, "image"),
    Row("10 000 form parts", Ask(form={f"f{n}": "x" for n in range(10_000)}), 413, TOO_LARGE),
    Row("10 000 urlencoded fields", Ask(pairs=tuple((f"f{n}", "x") for n in range(10_000))), 413,
        TOO_LARGE),
    Row("10 000 unknown names", create(**{f"f{n}": 1 for n in range(10_000)}), 400, UNKNOWN_NAME,
        "f0"),
    Row("a field in both places, unlike", create(
        operation="text_to_video", extra_body={"operation": "edit_video"}), 400, CLASH,
        "operation", ("operation",)),
    Row("the same in a form", Ask(pairs=(
        ("model", "grok-imagine"), ("prompt", "x"), ("duration", "1"),
        ("operation", "text_to_video"), ("extra_body[operation]", "image_to_video"))), 400, CLASH,
        "operation"),
    Row("extra_body is no object", create(extra_body=[1]), 400, BAD, "extra_body", ("object",)),
    Row("extra_body as broken JSON text", create(extra_body='{"operation":'), 400, NO_JSON,
        "extra_body", ("cut off",)),
    Row("extra_body in extra_body", create(extra_body={"extra_body": {}}), 400, UNKNOWN_NAME,
        "extra_body.extra_body"),
    Row("one plain field twice", Ask(pairs=(
        ("model", "grok-imagine"), ("prompt", "x"), ("prompt", "y"), ("duration", "1"))), 400, BAD,
        "prompt", ("string",)),
]  # fmt: skip

TEXTS = [
    Row("model: required", create(model=None), 400, MISSING, "model", ('"grok-imagine"',)),
    Row("model: a string", create(model=7), 400, BAD, "model", ("string", "7")),
    Row("model: known", create(model="sora-2"), 404, "model_not_found", "model",
        ("sora-2", "grok-imagine")),
    Row("model: to the letter", create(model="Grok-Imagine"), 404, "model_not_found", "model"),
    Row("model: not empty", create(model=""), 404, "model_not_found", "model"),
    Row("prompt: required", create(prompt=None), 400, MISSING, "prompt", ("4096",)),
    Row("prompt: null is leaving it out", raw(
        '{"model": "grok-imagine", "prompt": null, "duration": 1}'), 400, MISSING, "prompt"),
    Row("prompt: not empty", create(prompt=""), 400, BAD, "prompt", ("empty", "4096")),
    Row("prompt: not only blanks", create(prompt=" \n\t\u3000"), 400, BAD, "prompt", ("empty",)),
    Row("prompt: 4096 characters", create(prompt="ü" * 4097), 400, BAD, "prompt",
        ("4097", "4096")),
    Row("prompt: a string", create(prompt=["x"]), 400, BAD, "prompt", ("string",)),
    Row("prompt: without NUL", create(prompt="a\0b"), 400, BAD, "prompt", ("NUL",)),
    Row("user: a string", create(user=7), 400, BAD, "user", ("string",)),
    Row("user: 512 characters", create(user="u" * 513), 400, BAD, "user", ("513", "512")),
    Row("user: without NUL", create(user="\0"), 400, BAD, "user", ("NUL",)),
    Row("metadata: an object", create(metadata=[1]), 400, BAD, "metadata", ("object",)),
    Row("metadata: 16 pairs", create(metadata={f"k{n}": "v" for n in range(17)}), 400, BAD,
        "metadata", ("17", "16")),
    Row("metadata: of strings", create(metadata={"k": 1}), 400, BAD, "metadata", ("string",)),
    Row("metadata: short names", create(metadata={"k" * 65: "v"}), 400, BAD, "metadata", ("64",)),
    Row("metadata: short values", create(metadata={"k": "v" * 513}), 400, BAD, "metadata",
        ("512",)),
    Row("metadata: `url` is ours", create(metadata={"url": "x"}), 400, BAD, "metadata", ("url",)),
    Row("metadata: without NUL", create(metadata={"k": "\0"}), 400, BAD, "metadata", ("NUL",)),
    Row("unknown name, nearly right", create(promt="x"), 400, UNKNOWN_NAME, "promt", ("`prompt`",)),
    Row("unknown name, nothing near", create(fps=24), 400, UNKNOWN_NAME, "fps", ("fps",)),
    Row("unknown name in extra_body", create(extra_body={"opperation": "x"}), 400, UNKNOWN_NAME,
        "extra_body.opperation", ("`operation`",)),
    Row("upstream's own names are not ours", create(n=1), 400, UNKNOWN_NAME, "n"),
]  # fmt: skip

PICTURES = [
    Row("image: a link", create(image="not a link"), 400, BAD, "image", ("https://",)),
    Row("image: no other scheme", create(image="ftp://x.example/a.png"), 400, BAD, "image",
        ("https://",)),
    Row("image: no file of ours", create(image="file:///etc/passwd"), 400, BAD, "image"),
    Row("image: a host", create(image="https://"), 400, BAD, "image"),
    Row("image: no blanks in a link", create(image="https://x.example/a b.png"), 400, BAD, "image"),
    Row("image: a link of 8192", create(image="https://x.example/" + "a" * 8192), 400, BAD,
        "image", ("8192",)),
    Row("image: a string or object", create(image=7), 400, BAD, "image", ("url",)),
    Row("image: one", create(image=[PICTURE]), 400, BAD, "image", ("`images`",)),
    Row("image: {url}", create(image={"href": PICTURE}), 400, UNKNOWN_NAME, "image", ("`url`",)),
    Row("image: {url} of something", create(image={}), 400, BAD, "image", ('"url"',)),
    Row("image: {url} of text", create(image={"url": 7}), 400, BAD, "image", ("string",)),
    Row("image: no task", create(image={"id": UNKNOWN}), 400, UNKNOWN_NAME, "image"),
    Row("image: base64", create(image="data:image/png,abc"), 400, BAD, "image", ("base64",)),
    Row("image: whole base64", create(image="data:image/png;base64,abc"), 400, BAD, "image",
        ("base64",)),
    Row("image: base64 of something", create(image="data:image/png;base64,"), 400, BAD, "image"),
    Row("image: JPEG, PNG or WebP", create(image=data_uri(GIF)), 400, BAD, "image",
        ("JPEG", "PNG", "WEBP")),
    Row("image: what it is, not what it says", upload(("image", GIF)), 400, BAD, "image", ("PNG",)),
    Row("image: no SVG", upload(("image", b"<svg xmlns='http://www.w3.org/2000/svg'/>")), 400, BAD,
        "image"),
    Row("image: no film", upload(("image", "two.mp4")), 400, BAD, "image", ("video/mp4",)),
    Row("image: whole", create(image=data_uri(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)), 400, BAD,
        "image", ("readable",)),
    Row("image: 10 MiB", upload(("image", b"\x89PNG\r\n\x1a\n" + b"\0" * (10 * MIB))), 413,
        TOO_LARGE, "image", ("10 MiB",)),
    Row("image: 10 MiB in a data URI", create(image=data_uri(
        b"\x89PNG\r\n\x1a\n" + b"\0" * (10 * MIB))), 413, TOO_LARGE, "image", ("10 MiB",)),
    Row("image: a link sent as a file", upload(("input_reference", PICTURE.encode())), 400, BAD,
        "input_reference", ("link",)),
    Row("input_reference: no file id", create(input_reference={"file_id": "file-1"}), 400,
        UNKNOWN_NAME, "input_reference", ("`image_url`",)),
    Row("image and image_url, unlike", create(image=PICTURE, image_url=PICTURE + "?2"), 400, CLASH,
        "image_url", ("`image`",)),
    Row("images: 1 to 7", create(images=[PICTURE] * 8), 400, BAD, "images", ("8", "7")),
    Row("images: at least one", create(images=[]), 400, BAD, "images", ("0", "1 to 7")),
    Row("images: each of them", create(images=[PICTURE, "x"]), 400, BAD, "images", ("images[1]",)),
    Row("images: each of them readable", create(images=[PICTURE, data_uri(GIF)]), 400, BAD,
        "images", ("PNG",)),
    Row("images: tags have their image", create(prompt="@Image1 and @Image3", images=[PICTURE] * 2),
        400, BAD, "prompt", ("@Image3", "@Image1 to @Image2")),
    Row("images: tags count from one", create(prompt="@Image0", images=[PICTURE]), 400, BAD,
        "prompt", ("@Image0",)),
    Row("image and images", create(image=PICTURE, images=[PICTURE]), 400, CLASH, "images",
        ("`image`", "`images`")),
    Row("image and video", create(image=PICTURE, video=CLIP), 400, CLASH, "video",
        ("`image`", "`video`")),
    Row("images and video", create(images=[PICTURE], video=CLIP), 400, CLASH, "video",
        ("`images`", "`video`")),
]  # fmt: skip

CLIPS = [
    Row("video: a link", edit(video="x"), 400, BAD, "video", ("https://",)),
    Row("video: no bare task id", edit(video=UNKNOWN), 400, BAD, "video", ('{"id":',)),
    Row("video: unknown task", edit(video={"id": UNKNOWN}), 404, "task_not_found", "video",
        (UNKNOWN,)),
    Row("video: no task id", edit(video={"id": "video_123"}), 404, "task_not_found", "video"),
    Row("video: one of url and id", edit(video={"id": UNKNOWN, "url": CLIP}), 400, CLASH, "video",
        ('"url"', '"id"')),
    Row("video: MP4", upload(("video", "red.png"), duration=None), 400, BAD, "video", ("MP4",)),
    Row("video: a whole MP4", upload(("video", b"\0\0\0\x18ftypisom" + b"\0" * 100), duration=None),
        400, BAD, "video", ("readable",)),
    Row("video: H.264, H.265 or AV1", upload(("video", "mpeg4.mp4"), duration=None), 400, BAD,
        "video", ("H.264", "H.265", "AV1")),
    Row("video: 50 MiB", upload(("video", b"\0\0\0\x18ftypisom" + b"\0" * (50 * MIB)),
        duration=None), 413, TOO_LARGE, "video", ("50 MiB",)),
    Row("edit: a source of 1 s", upload(("video", "half.mp4"), duration=None), 400, BAD, "video",
        ("0.5 s", "1 to 8.7 s")),
    Row("edit: a source of 8.7 s", upload(("video", "ten.mp4"), duration=None), 400, BAD, "video",
        ("10 s", "1 to 8.7 s")),
    Row("extend: a source of 2 s", upload(("video", "half.mp4"), duration="2"), 400, BAD, "video",
        ("0.5 s", "2 to 15 s")),
    Row("videos: exactly one", create(videos=[CLIP, CLIP], duration=None), 400, BAD, "videos",
        ("exactly one", "2")),
    Row("videos: not none", create(videos=[], duration=None), 400, BAD, "videos", ("exactly one",)),
    Row("video and videos, unlike", edit(videos=[CLIP + "?2"]), 400, CLASH, "videos"),
]  # fmt: skip

SHAPES = [
    Row("size: 480p or 720p", create(size="1080p"), 400, BAD, "size", ("1080p", "480p", "720p")),
    Row("size: a string", create(size=720), 400, BAD, "size", ("string",)),
    Row("size: in the table", create(size="1000x700"), 400, BAD, "size",
        ("1000x700", "960x720", "1080x720")),
    Row("size: never the nearest in silence", create(size="1281x720"), 400, BAD, "size",
        ("1280x720",)),
    Row("resolution is size", create(size="480p", resolution="720p"), 400, CLASH, "resolution",
        ("`size`",)),
    Row("size: not for an extension", extend(size="720p"), 400, NOT_TAKEN, "size",
        ("video_extend",)),
    Row("aspect_ratio: of the list", create(aspect_ratio="21:9"), 400, BAD, "aspect_ratio",
        ("21:9", "16:9", "2:3")),
    Row("aspect_ratio: auto has one image", create(aspect_ratio="auto"), 400, BAD, "aspect_ratio",
        ("auto", "16:9")),
    Row("aspect_ratio: no auto of many", create(aspect_ratio="auto", images=[PICTURE]), 400, BAD,
        "aspect_ratio", ("auto",)),
    Row("aspect_ratio: not for an edit", edit(aspect_ratio="16:9"), 400, NOT_TAKEN, "aspect_ratio",
        ("edit_video",)),
    Row("aspect_ratio: not for an extension", extend(aspect_ratio="16:9"), 400, NOT_TAKEN,
        "aspect_ratio", ("video_extend",)),
    Row("aspect_ratio: what the pixels say", create(size="1280x720", aspect_ratio="1:1"), 400,
        CLASH, "aspect_ratio", ("16:9", "1:1")),
]  # fmt: skip

SECONDS = [
    Row("text: required", create(duration=None), 400, MISSING, "duration",
        ("1 to 15", '"duration"')),
    Row("text: 1 to 15, not 0", create(duration=0), 400, BAD, "duration", ("0", "1 to 15")),
    Row("text: 1 to 15, not 16", create(duration=16), 400, BAD, "duration", ("16", "1 to 15")),
    Row("image: required", create(image=PICTURE, duration=None), 400, MISSING, "duration",
        ("1 to 15", '"image"')),
    Row("image: 1 to 15", create(image=PICTURE, duration=16), 400, BAD, "duration", ("1 to 15",)),
    Row("references: required", create(images=[PICTURE], duration=None), 400, MISSING, "duration",
        ("1 to 10", '"images"')),
    Row("references: 1 to 10", create(images=[PICTURE], duration=11), 400, BAD, "duration",
        ("11", "1 to 10")),
    Row("extend: required", edit(operation="video_extend"), 400, MISSING, "duration",
        ("2 to 10", '"video"')),
    Row("extend: 2 to 10, not 1", extend(duration=1), 400, BAD, "duration", ("2 to 10",)),
    Row("extend: 2 to 10, not 11", extend(duration=11), 400, BAD, "duration", ("2 to 10",)),
    Row("edit: refused", edit(operation="edit_video", duration=5), 400, NOT_TAKEN, "duration",
        ("edit_video", "as long as its source")),
    Row("edit: `seconds` refused too", edit(operation="edit_video", seconds="5"), 400, NOT_TAKEN,
        "seconds"),
    Row("whole", create(duration=6.5), 400, BAD, "duration", ("whole", "6.5")),
    Row("whole, as a float too", create(duration=6.0), 400, BAD, "duration", ("whole",)),
    Row("digits", create(duration="six"), 400, BAD, "duration", ("six",)),
    Row("digits of ASCII", create(duration="٦"), 400, BAD, "duration"),
    Row("only digits", create(duration="6s"), 400, BAD, "duration", ("6s",)),
    Row("not below zero", create(duration=-1), 400, BAD, "duration"),
    Row("no truth", create(duration=True), 400, BAD, "duration", ("true",)),
    Row("seconds: the same meaning", create(duration=None, seconds="16"), 400, BAD, "seconds",
        ("1 to 15",)),
    Row("duration and seconds, unlike", create(seconds="2"), 400, CLASH, "seconds",
        ("`duration`", "`seconds`")),
    Row("duration and seconds, equal", create(seconds="1"), 400, CLASH, "seconds",
        ("`duration`", "exactly one")),
    Row("input_video_seconds: edit 1 to 9", edit(input_video_seconds=10), 400, BAD,
        "input_video_seconds", ("1 to 9",)),
    Row("input_video_seconds: positive", edit(input_video_seconds=0), 400, BAD,
        "input_video_seconds", ("1 to 9",)),
    Row("input_video_seconds: extend 2 to 15", extend(input_video_seconds=16), 400, BAD,
        "input_video_seconds", ("2 to 15",)),
    Row("input_video_seconds: extend not 1", extend(input_video_seconds=1), 400, BAD,
        "input_video_seconds", ("2 to 15",)),
    Row("input_video_seconds: an integer", edit(input_video_seconds="long"), 400, BAD,
        "input_video_seconds", ("whole",)),
    Row("input_video_seconds: of a video", create(input_video_seconds=4), 400, NOT_TAKEN,
        "input_video_seconds", ("text_to_video",)),
    Row("input_video_seconds: in extra_body", edit(extra_body={"input_video_seconds": 10}), 400,
        BAD, "input_video_seconds", ("1 to 9",)),
]  # fmt: skip

OPERATIONS = [
    Row("known", create(operation="upscale"), 400, BAD, "operation",
        ("upscale", "text_to_video", "video_extend")),
    Row("a string", create(operation=["edit_video"]), 400, BAD, "operation", ("string",)),
    Row("text needs no image", create(operation="text_to_video", image=PICTURE), 400, CLASH,
        "operation", ("text_to_video", "`image`")),
    Row("image needs one", create(operation="image_to_video"), 400, MISSING, "image",
        ("image_to_video", '"image":')),
    Row("references need some", create(operation="reference_to_video"), 400, MISSING, "images",
        ('"images":',)),
    Row("edit needs a video", create(operation="edit_video", duration=None), 400, MISSING, "video",
        ('"operation": "edit_video"', '"input_video_seconds"')),
    Row("extend needs a video", create(operation="video_extend"), 400, MISSING, "video",
        ('"operation": "video_extend"', '"duration"')),
    Row("edit takes no image", create(operation="edit_video", image=PICTURE, duration=None), 400,
        CLASH, "operation", ("`video`", "`image`")),
    Row("in extra_body", create(extra_body={"operation": "image_to_video"}), 400, MISSING, "image"),
    Row("only a video is given", Ask(json={"model": "grok-imagine", "video": CLIP}), 400, MISSING,
        "prompt", ('"operation": "edit_video"', '"operation": "video_extend"')),
    Row("the route says edit", Ask(path="/v1/videos/edits", json={
        "prompt": "x", "video": CLIP, "operation": "video_extend"}), 400, CLASH, "operation",
        ("edit_video",)),
    Row("an edit has a video", Ask(path="/v1/videos/edits", json={"prompt": "x"}), 400, MISSING,
        "video", ("edit_video",)),
    Row("an extension has a video", Ask(path="/v1/videos/extensions", json={
        "prompt": "x", "seconds": "4"}), 400, MISSING, "video", ("video_extend",)),
    Row("an extension has seconds", Ask(path="/v1/videos/extensions", json={
        "prompt": "x", "video": CLIP}), 400, MISSING, "duration", ("2 to 10",)),
    Row("every problem, the first as param", create(
        prompt="", size="1080p", aspect_ratio="21:9", duration=99, promt="x"), 400, UNKNOWN_NAME,
        "promt", ("5 problems", "(1)", "(5)", "prompt is empty", "1080p", "21:9", "99")),
    Row("an estimate refuses the same", Ask(path="/v1/videos/estimate", json={
        "model": "grok-imagine", "prompt": "x"}), 400, MISSING, "duration", ("1 to 15",)),
    Row("the compatible path refuses the same", Ask(path="/v1/video/generations", json={
        "model": "grok-imagine", "prompt": "x"}), 400, MISSING, "duration"),
]  # fmt: skip

KEYS = [
    Row("Idempotency-Key: 255 characters", Ask(
        json=create().json, headers={"idempotency-key": "k" * 256}), 400, BAD, "Idempotency-Key",
        ("256", "255")),
    Row("Idempotency-Key: not empty", Ask(json=create().json, headers={"idempotency-key": ""}),
        400, BAD, "Idempotency-Key"),
]  # fmt: skip

TABLE = {
    "1": ROUTES,
    "2": ENCODINGS,
    "3 text": TEXTS,
    "3 images": PICTURES,
    "3 video": CLIPS,
    "3 shape": SHAPES,
    "3 seconds": SECONDS,
    "3 operation": OPERATIONS,
    "6": KEYS,
}


@pytest.fixture(scope="module")
def account(live: Live) -> Account:
    return live.account("7.77")


@pytest.fixture(scope="module")
def account_on_postgres(live_postgres: Live) -> Account:
    return live_postgres.account("7.77")


def rows(*sections: str) -> pytest.MarkDecorator:
    """Parametrise by every row of these sections."""
    found = [(section, row) for section in sections for row in TABLE[section]]
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=f"{section} {row.rule}") for section, row in found]
    )


@rows(*TABLE)
def test_what_a_rule_refuses(row: Row, account: Account, inputs: Path) -> None:
    check(row, account, inputs)


@rows("1", "3 text", "3 video", "6")
def test_what_may_reach_the_database(row: Row, account_on_postgres: Account, inputs: Path) -> None:
    check(row, account_on_postgres, inputs)


def check(row: Row, account: Account, inputs: Path) -> None:
    untouched = Untouched(account)
    answer = row.ask.send(account.http, inputs)
    message = check_refusal(answer, row.status, row.code, row.param)
    for piece in row.says:
        assert piece in message
    for name, value in row.headers.items():
        assert answer.headers[name] == value
    assert len(message) < 12_000
    untouched.check()
    assert account.balance() == ("7.77", "0.00")


def test_an_example_in_a_message_is_a_request_that_works(account: Account) -> None:
    message = check_refusal(create(duration=None).send(account.http), 400, MISSING, "duration")
    example = json.loads(message[message.index("{") :])
    answer = account.http.post("/v1/videos/estimate", json=example)
    assert answer.status_code == 200, answer.text
