"""One row per rule of contract sections 2 and 3: the request as JSON, and what becomes of it.

`tests/domain/test_rules.py` has the rules themselves; here is what comes over the wire.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate.api.fields import CREATE, ROWS, CreateReader, Preset
from reelgate.api.forms import Upload
from reelgate.api.media_fields import URL_CHARS_MAX
from reelgate.catalog import MODELS
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.examples import example
from reelgate.domain.ids import new_task_id
from reelgate.domain.model import Operation
from reelgate.domain.order import Draft, Order
from reelgate.domain.rules import check
from tests.api.bodies import (
    MP4,
    PNG,
    as_json,
    as_multipart,
    as_urlencoded,
    bracketed,
    channel,
)

READER = CreateReader(MODELS, allow_http=False)
MIB = 1024 * 1024
TASK = new_task_id(1_790_000_000_000)
PIC, PIC2 = "https://example.com/a.png", "https://example.com/b.png"
CLIP = "https://example.com/a.mp4"


def data_uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def upload(data: bytes = PNG, name: str = "a.png") -> Upload:
    return Upload(name, "application/octet-stream", data, hashlib.sha256(data).hexdigest())


def text(**fields: Any) -> dict[str, Any]:
    """A text-to-video request with something changed; None leaves a field out."""
    return {"model": "grok-imagine", "prompt": "a paper boat", "duration": 6, **fields}


def edit(**fields: Any) -> dict[str, Any]:
    return {"model": "grok-imagine", "prompt": "make it night", "video": CLIP, **fields}


def order_of(raw: dict[str, Any], reader: CreateReader = READER, preset: Preset = CREATE) -> Order:
    draft, problems = reader.read(raw, preset)
    return check(draft, MODELS[draft.model], problems)


def refusal_of(
    raw: dict[str, Any], reader: CreateReader = READER, preset: Preset = CREATE
) -> Refusal:
    with pytest.raises(Refusal) as refused:
        order_of(raw, reader, preset)
    return refused.value


# ---- what is taken ------------------------------------------------------------------------


@dataclass(frozen=True)
class Same:
    """Two requests that are one order."""

    name: str
    raw: dict[str, Any]
    as_good_as: dict[str, Any]


SAME = (
    Same("duration as text", text(duration="6"), text()),
    Same("duration with zeros", text(duration="06"), text()),
    Same("seconds", text(duration=None, seconds="6"), text()),
    Same("seconds as a number", text(duration=None, seconds=6), text()),
    Same("resolution is size", text(resolution="720p"), text(size="720p")),
    Same("both, saying the same", text(size="720p", resolution="720p"), text(size="720p")),
    Same("null is nothing", text(size=None, image=None, extra_body=None, n=None), text()),
    Same("an empty extra_body", text(extra_body={}), text()),
    Same("extra_body as JSON text", text(extra_body='{"size": "720p"}'), text(size="720p")),
    Same("operation at the top", edit(operation="edit_video"), edit()),
    Same("operation in extra_body", edit(extra_body={"operation": "edit_video"}), edit()),
    Same(
        "in both places, the same",
        edit(input_video_seconds=8, extra_body={"input_video_seconds": "8"}),
        edit(input_video_seconds=8),
    ),
    Same("anything in extra_body", text(duration=None, extra_body={"duration": 6}), text()),
    Same("the model in extra_body", text(model=None, extra_body={"model": "grok-imagine"}), text()),
    Same("image as an object", text(image={"url": PIC}), text(image=PIC)),
    Same("image as JSON text", text(image=json.dumps({"url": PIC})), text(image=PIC)),
    Same("image_url", text(image_url=PIC), text(image=PIC)),
    Same("image_url as an object", text(image_url={"url": PIC}), text(image=PIC)),
    Same("input_reference", text(input_reference=PIC), text(image=PIC)),
    Same("OpenAI's object", text(input_reference={"image_url": PIC}), text(image=PIC)),
    Same("input_reference with url", text(input_reference={"url": PIC}), text(image=PIC)),
    Same(
        "with nulls beside",
        text(input_reference={"image_url": PIC, "file_id": None}),
        text(image=PIC),
    ),
    Same("an upload", text(image=upload()), text(image=data_uri(PNG))),
    Same("an upload as input_reference", text(input_reference=upload()), text(image=data_uri(PNG))),
    Same("an upload inside an object", text(image={"url": upload()}), text(image=data_uri(PNG))),
    Same(
        "a declared type says nothing", text(image=data_uri(PNG, "x/y")), text(image=data_uri(PNG))
    ),
    Same("a data URI with no type", text(image=data_uri(PNG, "")), text(image=data_uri(PNG))),
    Same("data: in capitals", text(image="DATA" + data_uri(PNG)[4:]), text(image=data_uri(PNG))),
    Same("images as objects", text(images=[{"url": PIC}, PIC2]), text(images=[PIC, PIC2])),
    Same("image_urls", text(image_urls=[PIC, PIC2]), text(images=[PIC, PIC2])),
    Same("reference_images", text(reference_images=[{"url": PIC}]), text(images=[PIC])),
    Same(
        "images as JSON text",
        text(images=json.dumps([PIC, {"url": PIC2}])),
        text(images=[PIC, PIC2]),
    ),
    Same("one image of a form's list", text(images=PIC), text(images=[PIC])),
    Same("entries as JSON text", text(images=[json.dumps({"url": PIC})]), text(images=[PIC])),
    Same(
        "uploads", text(images=[upload(), upload(MP4)]), text(images=[data_uri(PNG), data_uri(MP4)])
    ),
    Same("video as an object", edit(video={"url": CLIP}), edit()),
    Same("videos", edit(video=None, videos=[CLIP]), edit()),
    Same("videos of one object", edit(video=None, videos=[{"url": CLIP}]), edit()),
    Same("videos as JSON text", edit(video=None, videos=json.dumps([CLIP])), edit()),
    Same("video and videos, the same", edit(videos=[CLIP]), edit()),
    Same("a task", edit(video=json.dumps({"id": TASK})), edit(video={"id": TASK})),
    Same("a task in videos", edit(video=None, videos=[{"id": TASK}]), edit(video={"id": TASK})),
    Same("an uploaded video", edit(video=upload(MP4)), edit(video=data_uri(MP4, "video/mp4"))),
    Same("metadata as JSON text", text(metadata='{"a": "1"}'), text(metadata={"a": "1"})),
)


@pytest.mark.parametrize("row", SAME, ids=lambda row: row.name)
def test_names_and_shapes_that_mean_the_same(row: Same) -> None:
    order, other = order_of(row.raw), order_of(row.as_good_as)
    assert order == other
    assert order.digest() == other.digest()


@pytest.mark.parametrize("operation", Operation)
def test_the_examples_that_messages_show_are_taken(operation: Operation) -> None:
    shown = json.loads(example(operation, "grok-imagine"))
    assert order_of({**shown, "prompt": "a boat"}).operation is operation


def test_a_task_is_named_not_linked() -> None:
    order = order_of(edit(video={"id": TASK}))
    assert order.video is not None
    assert (order.video.task_id, order.video.url) == (TASK, None)


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://Example.com/a.png",
        "https://example.com:8443/a?b=c&d=%20#e",
        "https://[2001:db8::1]/a.png",
        "https://example.com/ü漢.png",
        "https://example.com/" + "a" * (URL_CHARS_MAX - 20),
    ],
)
def test_links_that_are_taken_as_they_are(url: str) -> None:
    assert order_of(text(image=url)).images[0].url == url


def test_plain_http_where_the_operator_allows_it() -> None:
    url = "http://example.com/a.png"
    allowing = CreateReader(MODELS, allow_http=True)
    assert order_of(text(image=url), allowing).images[0].url == url
    assert "https://" in refusal_of(text(image=url)).message


@given(
    st.text(min_size=1, max_size=300).filter(lambda prompt: "\0" not in prompt and prompt.strip())
)
def test_a_prompt_comes_through_byte_for_byte(prompt: str) -> None:
    assert order_of(text(prompt=prompt)).prompt == prompt


# ---- what is refused ----------------------------------------------------------------------

MISSING, INVALID = Code.MISSING_REQUIRED_PARAMETER, Code.INVALID_VALUE
CONFLICT, UNSUPPORTED = Code.CONFLICTING_PARAMETERS, Code.UNSUPPORTED_PARAMETER
UNKNOWN, TOO_LARGE = Code.UNKNOWN_PARAMETER, Code.REQUEST_TOO_LARGE
NO_TASK, NO_MODEL = Code.TASK_NOT_FOUND, Code.MODEL_NOT_FOUND


@dataclass(frozen=True)
class Bad:
    """`says` are fragments of the message, the first of them what the row is about."""

    raw: dict[str, Any]
    code: Code
    param: str
    says: tuple[str, ...]


def bad(raw: dict[str, Any], code: Code, param: str, *says: str) -> Bad:
    return Bad(raw, code, param, says)


BAD: dict[str, Bad] = {
    # model
    "no model": bad(text(model=None), MISSING, "model", "model is required", '"grok-imagine"'),
    "unknown model": bad(text(model="sora-2"), NO_MODEL, "model", "'sora-2'", "grok-imagine"),
    "empty model": bad(text(model=""), NO_MODEL, "model", "''"),
    "another case": bad(text(model="Grok-Imagine"), NO_MODEL, "model", "grok-imagine"),
    "numeric model": bad(text(model=1), INVALID, "model", "must be a string; got 1"),
    "huge model": bad(text(model="x" * 10**6), NO_MODEL, "model", "…"),
    # prompt
    "no prompt": bad(text(prompt=None), MISSING, "prompt", "prompt is required"),
    "numeric prompt": bad(text(prompt=5), INVALID, "prompt", "must be a string; got 5"),
    "prompt of a list": bad(text(prompt=["a", "b"]), INVALID, "prompt", "got a list of 2"),
    "prompt of an object": bad(text(prompt={"a": 1}), INVALID, "prompt", "got an object"),
    "prompt of true": bad(text(prompt=True), INVALID, "prompt", "got true"),
    "prompt as a file": bad(text(prompt=upload()), INVALID, "prompt", "got an uploaded file"),
    "prompt with NUL": bad(text(prompt="a\0b"), INVALID, "prompt", "NUL"),
    "long prompt": bad(text(prompt="é" * 4097), INVALID, "prompt", "4097"),
    # duration and seconds
    "no duration": bad(text(duration=None), MISSING, "duration", "1 to 15", '"duration": 6'),
    "both": bad(text(seconds="6"), CONFLICT, "seconds", "`duration` and `seconds`"),
    "both, the other way": bad(
        {"seconds": "6", **text()}, CONFLICT, "duration", "`seconds` and `duration`"
    ),
    "both, one inside": bad(text(extra_body={"seconds": 6}), CONFLICT, "seconds", "both given"),
    "words": bad(text(duration="six"), INVALID, "duration", "'six'", '6 or "6"'),
    "a unit": bad(text(duration="6s"), INVALID, "duration", "'6s'"),
    "a fraction": bad(text(duration=6.5), INVALID, "duration", "6.5"),
    "a whole float": bad(text(duration=6.0), INVALID, "duration", "6.0"),
    "a fraction as text": bad(text(duration="6.0"), INVALID, "duration", "'6.0'"),
    "true": bad(text(duration=True), INVALID, "duration", "got true"),
    "a list": bad(text(duration=[6]), INVALID, "duration", "got a list of 1"),
    "an empty list": bad(text(duration=[]), INVALID, "duration", "got a list of 0"),
    "an object": bad(text(duration={}), INVALID, "duration", "got an object"),
    "no text": bad(text(duration=""), INVALID, "duration", "''"),
    "a blank before": bad(text(duration=" 6"), INVALID, "duration", "' 6'"),
    "a break behind": bad(text(duration="6\n"), INVALID, "duration", "'6\\n'"),
    "a sign": bad(text(duration="+6"), INVALID, "duration", "'+6'"),
    "negative text": bad(text(duration="-6"), INVALID, "duration", "'-6'"),
    "negative": bad(text(duration=-6), INVALID, "duration", "-6", "1 to 15"),
    "Arabic digits": bad(text(duration="٦"), INVALID, "duration", "'٦'"),
    "superscript": bad(text(duration="²"), INVALID, "duration", "'²'"),
    "hexadecimal": bad(text(duration="0x6"), INVALID, "duration", "'0x6'"),
    "an underscore": bad(text(duration="1_0"), INVALID, "duration", "'1_0'"),
    "1e30": bad(text(duration=1e30), INVALID, "duration", "1e+30"),
    "10^30": bad(text(duration=10**30), INVALID, "duration", "1000000"),
    "4000 digits": bad(text(duration=10**4000), INVALID, "duration", "1000000"),
    "4000 digits as text": bad(text(duration="9" * 4000), INVALID, "duration", "…"),
    "0": bad(text(duration=0), INVALID, "duration", "0", "1 to 15"),
    "16": bad(text(duration=16), INVALID, "duration", "16", "1 to 15"),
    "seconds, 16": bad(text(duration=None, seconds="16"), INVALID, "seconds", "seconds 16"),
    "references, 11": bad(text(duration=11, images=[PIC]), INVALID, "duration", "1 to 10"),
    # size and aspect ratio
    "1080p": bad(text(size="1080p"), INVALID, "size", "480p or 720p"),
    "numeric size": bad(text(size=720), INVALID, "size", "got 720"),
    "pixels": bad(text(size="1920x1080"), INVALID, "size", "1080x720", "1280x720"),
    "two sizes": bad(text(size="480p", resolution="720p"), CONFLICT, "resolution", "`size`"),
    "ratio": bad(text(aspect_ratio="16/9"), INVALID, "aspect_ratio", "'16/9'", "16:9"),
    "auto": bad(text(aspect_ratio="auto"), INVALID, "aspect_ratio", "one `image`"),
    "ratio and pixels": bad(
        text(size="1280x720", aspect_ratio="9:16"), CONFLICT, "aspect_ratio", "16:9"
    ),
    # pictures
    "image as a number": bad(text(image=5), INVALID, "image", "got 5", "https://"),
    "two images in one": bad(
        text(image=[PIC, PIC]), INVALID, "image", "got a list of 2", "`images`"
    ),
    "empty image": bad(text(image=""), INVALID, "image", "https://"),
    "a path": bad(text(image="/home/me/a.png"), INVALID, "image", "multipart/form-data"),
    "a file link": bad(text(image="file:///etc/passwd"), INVALID, "image", "https://"),
    "ftp": bad(text(image="ftp://example.com/a"), INVALID, "image", "https://"),
    "http": bad(text(image="http://example.com/a"), INVALID, "image", "not http://"),
    "javascript": bad(text(image="javascript:alert(1)"), INVALID, "image", "https://"),
    "no host": bad(text(image="https:///a.png"), INVALID, "image", "https://"),
    "no scheme": bad(text(image="example.com/a.png"), INVALID, "image", "https://"),
    "a blank inside": bad(text(image="https://example.com/a b"), INVALID, "image", "https://"),
    "a break inside": bad(text(image="https://exa\nmple.com/"), INVALID, "image", "https://"),
    "a bad port": bad(text(image="https://example.com:99999/"), INVALID, "image", "https://"),
    "a bad address": bad(text(image="https://[::1/"), INVALID, "image", "https://"),
    "a long link": bad(
        text(image="https://example.com/" + "a" * URL_CHARS_MAX), INVALID, "image", "8192"
    ),
    "an empty object": bad(text(image={}), INVALID, "image", "exactly one name"),
    "object of a number": bad(text(image={"url": 5}), INVALID, "image", "image.url", "got 5"),
    "object of an object": bad(text(image={"url": {}}), INVALID, "image", "got an object"),
    "object with an empty link": bad(text(image={"url": ""}), INVALID, "image", "image.url"),
    "unknown name inside": bad(
        text(image={"url": PIC, "detail": "high"}), UNKNOWN, "image", "`detail`", "`url`"
    ),
    "a picture has no id": bad(text(image={"id": TASK}), UNKNOWN, "image", "`id`"),
    "file_id": bad(
        text(input_reference={"file_id": "file_1"}), UNKNOWN, "input_reference", "`file_id`"
    ),
    "both links inside": bad(
        text(input_reference={"url": PIC, "image_url": PIC2}),
        CONFLICT,
        "input_reference",
        "exactly one name",
    ),
    "broken JSON text": bad(
        text(image='{"url": '), Code.INVALID_JSON, "image", "`image` is cut off"
    ),
    "image twice": bad(text(image=PIC, image_url=PIC2), CONFLICT, "image_url", "`image` and"),
    "image twice, files": bad(
        text(image=upload(), input_reference=upload(MP4)),
        CONFLICT,
        "input_reference",
        "mean the same",
    ),
    "image and images": bad(
        text(image=PIC, images=[PIC]), CONFLICT, "images", "`image` and `images`"
    ),
    "image and video": bad(text(image=PIC, video=CLIP), CONFLICT, "video", "`image` and `video`"),
    "no images": bad(text(images=[]), INVALID, "images", "0 entries", "1 to 7"),
    "eight images": bad(text(images=[PIC] * 8), INVALID, "images", "8 entries", "at most 7"),
    "a million": bad(text(images=["x"] * 10**6), INVALID, "images", "1000000 entries"),
    "images of a number": bad(text(images=5), INVALID, "images", "images[0]", "got 5"),
    "images of a null": bad(text(images=[PIC, None]), INVALID, "images", "images[1]", "got null"),
    "images of a list": bad(text(images=[[PIC]]), INVALID, "images", "got a list of 1"),
    "one of them is bad": bad(
        text(images=[PIC, "b.png"]), INVALID, "images", "images[1]", "'b.png'"
    ),
    "a tag without its image": bad(
        text(images=[PIC], prompt="@Image2 walks"), INVALID, "prompt", "@Image2", "@Image1"
    ),
    # data URIs and files
    "data without base64": bad(text(image="data:image/png,abc"), INVALID, "image", ";base64"),
    "data without a comma": bad(text(image="data:image/png;base64"), INVALID, "image", ";base64"),
    "broken base64": bad(text(image="data:;base64,a"), INVALID, "image", "base64 is broken"),
    "base64 of a URL": bad(text(image="data:;base64,ab_-"), INVALID, "image", "base64 is broken"),
    "base64 with breaks": bad(
        text(image="data:;base64,QUJD\nQUJD"), INVALID, "image", "without line breaks"
    ),
    "base64 of another script": bad(text(image="data:;base64,éééé"), INVALID, "image", "broken"),
    "no data": bad(text(image="data:image/png;base64,"), INVALID, "image", "without any data"),
    "data over 10 MiB": bad(
        text(image=data_uri(bytes(10 * MIB + 1))), TOO_LARGE, "image", "10 MiB"
    ),
    "file over 10 MiB": bad(text(image=upload(bytes(10 * MIB + 1))), TOO_LARGE, "image", "10 MiB"),
    "video over 50 MiB": bad(edit(video=upload(bytes(50 * MIB + 1))), TOO_LARGE, "video", "50 MiB"),
    "empty file": bad(text(image=upload(b"")), INVALID, "image", "without any bytes"),
    "a link as a file": bad(
        text(input_reference=upload(PIC.encode(), "input_reference.png")),
        INVALID,
        "input_reference",
        "text of a link",
        "input_reference=https://",
    ),
    "a data URI as a file": bad(
        text(image=upload(data_uri(PNG).encode())), INVALID, "image", "text of a link"
    ),
    # video
    "video as a number": bad(edit(video=5), INVALID, "video", "got 5"),
    "two videos in one": bad(edit(video=[CLIP, CLIP]), INVALID, "video", "got a list of 2"),
    "no videos": bad(edit(video=None, videos=[]), INVALID, "videos", "exactly one", "got 0"),
    "two videos": bad(edit(video=None, videos=[CLIP, CLIP]), INVALID, "videos", "got 2"),
    "another in videos": bad(edit(videos=[CLIP + "?"]), CONFLICT, "videos", "mean the same"),
    "a task as a link": bad(edit(video=TASK), INVALID, "video", '"video": {"id":', TASK),
    "not a task": bad(edit(video={"id": "video_1"}), NO_TASK, "video", "'video_1'"),
    "a numeric task": bad(edit(video={"id": 1}), INVALID, "video", "video.id", "got 1"),
    "a task and a link": bad(
        edit(video={"id": TASK, "url": CLIP}), CONFLICT, "video", "exactly one"
    ),
    "a video has no image_url": bad(
        edit(video={"image_url": CLIP}), UNKNOWN, "video", "`image_url`"
    ),
    # edit and extend
    "video alone": bad(
        edit(prompt=None), MISSING, "prompt", "prompt is required", '"edit_video"', '"video_extend"'
    ),
    "extend without seconds": bad(
        edit(operation="video_extend"),
        MISSING,
        "duration",
        "2 to 10",
        '"operation": "video_extend"',
    ),
    "edit with seconds": bad(
        edit(operation="edit_video", duration=6), UNSUPPORTED, "duration", "takes no `duration`"
    ),
    "edit with a ratio": bad(edit(aspect_ratio="1:1"), UNSUPPORTED, "aspect_ratio", "takes no"),
    "extend with a size": bad(
        edit(duration=6, size="720p"), UNSUPPORTED, "size", "takes no `size`"
    ),
    "edit of nothing": bad(
        edit(video=None, operation="edit_video"), MISSING, "video", "needs `video`"
    ),
    "text with a video": bad(
        edit(operation="text_to_video", duration=5), CONFLICT, "operation", "no image and no video"
    ),
    "unknown operation": bad(edit(operation="edit"), INVALID, "operation", "'edit'", "edit_video"),
    "numeric operation": bad(edit(operation=1), INVALID, "operation", "got 1"),
    "operation twice": bad(
        edit(operation="edit_video", extra_body={"operation": "video_extend"}),
        CONFLICT,
        "operation",
        "`operation` and `extra_body.operation`",
    ),
    "source seconds twice": bad(
        edit(input_video_seconds=8, extra_body={"input_video_seconds": 9}),
        CONFLICT,
        "input_video_seconds",
        "different values",
    ),
    "source of 10 s": bad(edit(input_video_seconds=10), INVALID, "input_video_seconds", "1 to 9"),
    "source of 0 s": bad(edit(input_video_seconds=0), INVALID, "input_video_seconds", "1 to 9"),
    "source of 8.5 s": bad(edit(input_video_seconds=8.5), INVALID, "input_video_seconds", "8.5"),
    "source without a video": bad(
        text(extra_body={"input_video_seconds": 8}), UNSUPPORTED, "input_video_seconds", "no source"
    ),
    # extra_body, user, metadata
    "extra_body as text": bad(text(extra_body="x"), INVALID, "extra_body", "JSON text", "'x'"),
    "extra_body as a list": bad(text(extra_body=[]), INVALID, "extra_body", "got a list of 0"),
    "extra_body broken": bad(text(extra_body="{"), Code.INVALID_JSON, "extra_body", "cut off"),
    "numeric user": bad(text(user=5), INVALID, "user", "got 5"),
    "metadata as text": bad(text(metadata="x"), INVALID, "metadata", "'x'"),
    "metadata of a number": bad(
        text(metadata={"a": 1}), INVALID, "metadata", "metadata.a", "got 1"
    ),
    "metadata of an object": bad(text(metadata={"a": {}}), INVALID, "metadata", "got an object"),
    "metadata with NUL": bad(text(metadata={"a": "\0"}), INVALID, "metadata", "NUL"),
    "metadata named NUL": bad(text(metadata={"\0": "a"}), INVALID, "metadata", "NUL"),
    "17 pairs": bad(
        text(metadata={str(n): "" for n in range(17)}), INVALID, "metadata", "17", "16"
    ),
    # unknown
    "a slip": bad(text(durations=6), UNKNOWN, "durations", "did you mean `duration`?"),
    "another case of a name": bad(text(Size="480p"), UNKNOWN, "Size", "did you mean `size`?"),
    "camelCase": bad(text(aspectRatio="1:1"), UNKNOWN, "aspectRatio", "`aspect_ratio`?"),
    "n": bad(text(n=1), UNKNOWN, "n", "`n` is not a parameter", "known are model, prompt"),
    "seed": bad(text(seed=1), UNKNOWN, "seed", "`seed` is not a parameter"),
    "negative_prompt": bad(
        text(negative_prompt="x"), UNKNOWN, "negative_prompt", "not a parameter"
    ),
    "unknown inside": bad(
        text(extra_body={"seed": 1}), UNKNOWN, "extra_body.seed", "`extra_body.seed`"
    ),
    "extra_body inside": bad(
        text(extra_body={"extra_body": {}}), UNKNOWN, "extra_body.extra_body", "not a parameter"
    ),
    "no name": bad(text(**{"": 1}), UNKNOWN, "", "is not a parameter"),
    "odd brackets": bad(text(**{"image[url": PIC}), UNKNOWN, "image[url", "not a parameter"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    row = BAD[name]
    refusal = refusal_of(row.raw)
    assert (refusal.code, refusal.param) == (row.code, row.param)
    assert [part for part in row.says if part not in refusal.message] == []
    # One mistake, one problem, and a message that a person can read.
    assert " problems: " not in refusal.message
    assert len(refusal.message) < 1_000


def test_all_problems_of_a_request_are_listed() -> None:
    raw = text(prompt="", duration="x", size="8k", seed=1, image="a.png", metadata={"a": 1})
    refusal = refusal_of(raw)
    assert (refusal.code, refusal.param) == (INVALID, "duration")
    assert refusal.message.startswith("6 problems: (1) duration ")
    for part in ("image must be", "metadata.a", "`seed`", "prompt is empty", "size '8k'"):
        assert part in refusal.message


def test_an_empty_request_hears_of_everything_that_it_lacks() -> None:
    refusal = refusal_of({})
    assert refusal.param == "model"
    for part in ("model is required", "prompt is required", "duration is required"):
        assert part in refusal.message


def test_a_hundred_thousand_unknown_names_are_counted_not_listed() -> None:
    refusal = refusal_of(text(**{f"x{n}": n for n in range(100_000)}))
    assert refusal.code is UNKNOWN
    assert "and 99990 more unknown parameters" in refusal.message
    assert len(refusal.message) < 5_000


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "720p", PIC, "data:;base64,QUJD", "{}", "[]", "6", "task_"])
    | st.just(upload()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["url", "id", "image_url", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
_NAMES = st.sampled_from([*ROWS, "extra_body", "x"])


@given(st.dictionaries(_NAMES, _ANYTHING, max_size=6), st.booleans())
def test_whatever_is_sent_is_an_order_or_a_refusal(raw: dict[str, Any], complete: bool) -> None:
    if complete:
        raw = {**raw, "model": "grok-imagine"}
    try:
        order = order_of(raw)
    except Refusal as refusal:
        assert refusal.message  # noqa: PT017 # either way out is right
    else:
        assert len(order.digest()) == 64


# ---- what the route says ------------------------------------------------------------------

EDITS = Preset(Operation.EDIT_VIDEO)
EXTENSIONS = Preset(Operation.VIDEO_EXTEND)
REMIX = Preset(Operation.EDIT_VIDEO, source_task_id=TASK)


def test_openais_edits_need_no_model() -> None:
    order = order_of({"prompt": "night", "video": upload(MP4)}, preset=EDITS)
    assert (order.model, order.operation) == ("grok-imagine", Operation.EDIT_VIDEO)


def test_openais_extensions_need_no_model_and_send_text() -> None:
    raw = {"prompt": "go on", "seconds": "8", "video": {"id": TASK}}
    order = order_of(raw, preset=EXTENSIONS)
    assert (order.operation, order.seconds) == (Operation.VIDEO_EXTEND, 8)


def test_a_remix_edits_the_video_that_the_path_names() -> None:
    order = order_of({"prompt": "in snow"}, preset=REMIX)
    assert order.operation is Operation.EDIT_VIDEO
    assert order.remixed_from == TASK
    assert order.video is not None
    assert order.video.task_id == TASK


@pytest.mark.parametrize(
    ("raw", "preset", "code", "param"),
    [
        ({"prompt": "x", "video": CLIP, "operation": "video_extend"}, EDITS, CONFLICT, "operation"),
        ({"prompt": "x", "video": CLIP}, EXTENSIONS, MISSING, "duration"),
        ({"prompt": "x", "video": CLIP, "seconds": "8"}, EDITS, UNSUPPORTED, "seconds"),
        ({"prompt": "x"}, EDITS, MISSING, "video"),
        ({"prompt": "x", "video": CLIP}, REMIX, CONFLICT, "video"),
        ({"prompt": "x", "videos": [CLIP]}, REMIX, CONFLICT, "videos"),
        ({"prompt": "x", "video": 5}, REMIX, INVALID, "video"),
        ({}, REMIX, MISSING, "prompt"),
        ({"prompt": "x", "model": "nope"}, REMIX, NO_MODEL, "model"),
        ({"prompt": "x", "model": 5}, REMIX, INVALID, "model"),
    ],
)
def test_what_does_not_fit_the_route(
    raw: dict[str, Any], preset: Preset, code: Code, param: str
) -> None:
    refusal = refusal_of(raw, preset=preset)
    assert (refusal.code, refusal.param) == (code, param)


def test_a_route_that_fixes_the_operation_may_hear_it_again() -> None:
    raw = edit(extra_body={"operation": "edit_video"})
    assert order_of(raw, preset=EDITS).operation is Operation.EDIT_VIDEO


# ---- all encodings give one order ---------------------------------------------------------

_PICTURES = st.sampled_from([PIC, {"url": PIC2}, data_uri(PNG)])
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_OPTIONS = st.fixed_dictionaries(
    {
        "model": st.just("grok-imagine"),
        "prompt": st.text(_CHARACTERS, min_size=1).filter(str.strip),
    },
    optional={
        "size": st.sampled_from(["480p", "720p"]),
        "user": st.text(_CHARACTERS, max_size=20),
        "metadata": st.dictionaries(
            st.text("abc_", min_size=1), st.text(_CHARACTERS, max_size=9), min_size=1, max_size=4
        ),
    },
)
_INPUTS = st.one_of(
    st.just({"duration": 6}),
    st.builds(
        lambda p: {"seconds": "6", "input_reference": p}, st.sampled_from([PIC, data_uri(PNG)])
    ),
    st.builds(lambda p: {"duration": 6, "images": [p]}, _PICTURES),
    st.builds(lambda p: {"duration": 6, "images": [p, p]}, _PICTURES),
    st.just({"video": {"url": CLIP}, "extra_body": {"operation": "edit_video"}}),
    st.just({"video": {"id": TASK}, "extra_body": {"input_video_seconds": 8}}),
)


def encodings(fields: dict[str, Any]) -> dict[str, tuple[bytes, str]]:
    """One request in every way that clients write it."""
    inside = {name: value for name, value in fields.items() if name not in {"model", "prompt"}}
    inside.update(inside.pop("extra_body", {}))
    nested = {"model": fields["model"], "prompt": fields["prompt"], "extra_body": inside}
    pairs = list(bracketed(fields))
    in_text = [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in fields.items()
    ]
    plain = [
        (name.replace("[]", "") if name.endswith("[]") else name, value) for name, value in pairs
    ]
    files = [
        (name, ("upload", PNG, "application/octet-stream") if value == data_uri(PNG) else value)
        for name, value in pairs
    ]
    return {
        "JSON": as_json(fields),
        "JSON, all in extra_body": as_json(nested),
        "JSON, extra_body as text": as_json({**nested, "extra_body": json.dumps(inside)}),
        "multipart": as_multipart(pairs),
        "multipart, all in extra_body": as_multipart(list(bracketed(nested))),
        "multipart with JSON text": as_multipart(in_text),
        "multipart with plain repeats": as_multipart(plain),
        "multipart with files": as_multipart(files),
        "urlencoded": as_urlencoded(pairs),
        "urlencoded with JSON text": as_urlencoded(in_text),
    }


@given(_OPTIONS, _INPUTS)
async def test_all_encodings_of_a_request_give_one_digest(
    options: dict[str, Any], inputs: dict[str, Any]
) -> None:
    fields = {**options, **inputs}
    if "video" in inputs and "operation" not in inputs.get("extra_body", {}):
        fields.pop("size", None)
    digests = {}
    for name, (body, content_type) in encodings(fields).items():
        one = channel(body, content_type)
        draft, problems = await READER.receive(one.scope, one.receive)
        digests[name] = check(draft, MODELS[draft.model], problems).digest()
    assert len(set(digests.values())) == 1, digests


async def test_a_long_data_uri_is_read_like_a_short_one() -> None:
    data = PNG + bytes(MIB)
    body, content_type = as_json(text(image=data_uri(data)))
    one = channel(body, content_type)
    draft, problems = await READER.receive(one.scope, one.receive)
    assert problems == []
    assert isinstance(draft, Draft)
    assert draft.image is not None
    assert draft.image.data == data


async def test_a_picture_field_has_the_limit_of_pictures_while_it_streams() -> None:
    for name in ("image", "images[]", "input_reference", "reference_images"):
        body, content_type = as_multipart([(name, ("a", bytes(10 * MIB + 1), ""))])
        one = channel(body, content_type)
        with pytest.raises(Refusal, match="10 MiB") as refused:
            await READER.receive(one.scope, one.receive)
        assert refused.value.code is TOO_LARGE
        assert refused.value.param == name.removesuffix("[]")
