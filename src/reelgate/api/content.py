"""The bytes of a finished video: whole or one range, by key or by signed link."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response, StreamingResponse

from reelgate.api.asgi import Answer, Call
from reelgate.api.errors import ErrorBody, ErrorEnvelope
from reelgate.api.links import link_of
from reelgate.api.wire import encode
from reelgate.domain.errors import Code, Refusal
from reelgate.flows import deliver
from reelgate.flows.pictures import PICTURES

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z", re.IGNORECASE)
_VIDEO = "video"
VARIANTS = (_VIDEO, *PICTURES)


async def content(call: Call) -> Answer:
    """The MP4, or a picture of it (`?variant=`)."""
    call.task_id = task_id = call.params["task_id"]
    query = call.query()
    variant = query.get("variant", _VIDEO)
    if variant not in VARIANTS:
        raise Refusal(
            Code.INVALID_VALUE,
            f"variant {variant[:40]!r} is not one of {', '.join(VARIANTS)}.",
            "variant",
        )
    task = await deliver.find_bytes(call.gateway, await _account(call, query), task_id)
    assert task.result is not None
    if variant == _VIDEO:
        shown = _Shown("video/mp4", f"{task.id}.mp4", task.result.sha256, task.result.bytes)
        return _answer(call, shown, partial(call.gateway.media.stream, task.result.key))
    picture = PICTURES[variant]
    data = await call.api.pictures.get(task, picture)
    shown = _Shown(
        picture.mime,
        f"{task.id}-{variant}{picture.suffix}",
        hashlib.sha256(data).hexdigest(),
        len(data),
    )
    return _answer(call, shown, partial(_slice, data))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is sent, whichever variant it is."""

    mime: str
    filename: str
    sha256: str
    bytes: int


async def _slice(data: bytes, start: int, length: int) -> AsyncIterator[bytes]:
    yield data[start : start + length]


async def _account(call: Call, query: dict[str, str]) -> str | None:
    """Whose tasks may be opened; None when a signed link opens this very one."""
    link = link_of(query)
    if link is not None and deliver.opens(call.gateway, call.params["task_id"], link):
        return None
    return (await call.identify()).account_id


def _answer(
    call: Call, shown: _Shown, stream: Callable[[int, int], AsyncIterator[bytes]]
) -> Answer:
    etag = f'"{shown.sha256}"'
    headers = {
        "content-type": shown.mime,
        "etag": etag,
        "accept-ranges": "bytes",
        "content-disposition": f'attachment; filename="{shown.filename}"',
        "cache-control": "private, max-age=3600",
        "x-content-type-options": "nosniff",
    }
    if _matches(call.header(b"if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    start, length, status = 0, shown.bytes, 200
    if (asked := _range(call, etag)) is not None:
        start, length = _span(*asked, shown.bytes)
        if not length:
            return _behind_the_end(shown, headers)
        status = 206
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{shown.bytes}"
    headers["content-length"] = str(length)
    if call.scope["method"] == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(stream(start, length), status, headers)


def _range(call: Call, etag: str) -> tuple[int | None, int | None] | None:
    """The first and last byte asked for, one of them None where it was left out.

    None for the whole: no range, several of them, or one of another version of the file.
    """
    given, condition = call.header(b"range"), call.header(b"if-range")
    match = _RANGE.match(given.strip()) if given else None
    if match is None or condition not in {None, etag}:
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is None and last is None:
        return None
    if first is not None and last is not None and last < first:
        return None
    return first, last


def _span(first: int | None, last: int | None, total: int) -> tuple[int, int]:
    """(start, length) of a range; a length of 0 is one behind the end."""
    if first is None:
        length = min(last or 0, total)
        return total - length, length
    end = total if last is None else min(last + 1, total)
    return first, max(0, end - first)


def _behind_the_end(shown: _Shown, headers: dict[str, str]) -> Response:
    message = f"The range begins behind the end: {shown.filename} has {shown.bytes} bytes."
    error = ErrorBody(message, "invalid_request_error", "Range", Code.INVALID_VALUE.value)
    whole = f"bytes */{shown.bytes}"
    return Response(
        encode(ErrorEnvelope(error)),
        416,
        {**headers, "content-range": whole, "content-type": "application/json"},
    )


def _matches(condition: str | None, etag: str) -> bool:
    if condition is None:
        return False
    return condition.strip() == "*" or etag in [
        tag.strip().removeprefix("W/") for tag in condition.split(",")
    ]
