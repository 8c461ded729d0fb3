"""The bytes of a finished video: whole or one range, by key or by signed link."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response, StreamingResponse

from reelgate.api.asgi import Answer, Call
from reelgate.api.links import link_of
from reelgate.domain.errors import Code, Refusal
from reelgate.flows import deliver
from reelgate.flows.pictures import PICTURES

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
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
    span = _span(call, shown.bytes, etag)
    if span is None:
        return Response(
            status_code=416, headers={**headers, "content-range": f"bytes */{shown.bytes}"}
        )
    start, length = span
    status = 200
    if length != shown.bytes:
        status = 206
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{shown.bytes}"
    headers["content-length"] = str(length)
    if call.scope["method"] == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(stream(start, length), status, headers)


def _span(call: Call, total: int, etag: str) -> tuple[int, int] | None:
    """(start, length) to send; None when the range begins behind the end.

    Several ranges, or one of another version of the file, get the whole.
    """
    whole = (0, total)
    given = call.header(b"range")
    match = _RANGE.match(given.strip()) if given else None
    condition = call.header(b"if-range")
    if match is None or (condition is not None and condition != etag):
        return whole
    first, last = match[1], match[2]
    if not first and not last:
        return whole
    if not first:
        length = min(int(last), total)
        return (total - length, length) if length else None
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= total:
        return None
    end = min(int(last), total - 1) if last else total - 1
    return start, end - start + 1


def _matches(condition: str | None, etag: str) -> bool:
    if condition is None:
        return False
    return condition.strip() == "*" or etag in [
        tag.strip().removeprefix("W/") for tag in condition.split(",")
    ]
