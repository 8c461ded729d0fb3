"""The bytes of a finished video: whole or one range, by key or by signed link."""

import re
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from reelgate.api.asgi import Answer, Call
from reelgate.api.links import link_of
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.task import Result, Task
from reelgate.flows import deliver

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
VARIANTS = ("video", "thumbnail", "spritesheet")


async def content(call: Call) -> Answer:
    """The MP4, or a picture of it (`?variant=`)."""
    call.task_id = task_id = call.params["task_id"]
    query = call.query()
    variant = query.get("variant", "video")
    if variant not in VARIANTS:
        raise Refusal(
            Code.INVALID_VALUE,
            f"variant {variant[:40]!r} is not one of {', '.join(VARIANTS)}.",
            "variant",
        )
    task = await deliver.find_bytes(call.gateway, await _account(call, query), task_id)
    return _video_answer(call, task)


async def _account(call: Call, query: dict[str, str]) -> str | None:
    """Whose tasks may be opened; None when a signed link opens this very one."""
    link = link_of(query)
    if link is not None and deliver.opens(call.gateway, call.params["task_id"], link):
        return None
    caller = await call.api.authenticator.caller(call.header(b"authorization"))
    return caller.account_id


def _video_answer(call: Call, task: Task) -> Answer:
    result = task.result
    assert result is not None
    etag = f'"{result.sha256}"'
    headers = {
        "content-type": "video/mp4",
        "etag": etag,
        "accept-ranges": "bytes",
        "content-disposition": f'attachment; filename="{task.id}.mp4"',
        "cache-control": "private, max-age=3600",
        "x-content-type-options": "nosniff",
    }
    if _matches(call.header(b"if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    span = _span(call, result, etag)
    if span is None:
        return Response(
            status_code=416, headers={**headers, "content-range": f"bytes */{result.bytes}"}
        )
    start, length = span
    status = 200
    if length != result.bytes:
        status = 206
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{result.bytes}"
    headers["content-length"] = str(length)
    if call.scope["method"] == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_bytes(call, result.key, start, length), status, headers)


def _span(call: Call, result: Result, etag: str) -> tuple[int, int] | None:
    """(start, length) to send; None when the range begins behind the end.

    Several ranges, or one of another version of the file, get the whole.
    """
    whole = (0, result.bytes)
    given = call.header(b"range")
    match = _RANGE.match(given.strip()) if given else None
    condition = call.header(b"if-range")
    if match is None or (condition is not None and condition != etag):
        return whole
    first, last = match[1], match[2]
    if not first and not last:
        return whole
    if not first:
        length = min(int(last), result.bytes)
        return (result.bytes - length, length) if length else None
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= result.bytes:
        return None
    end = min(int(last), result.bytes - 1) if last else result.bytes - 1
    return start, end - start + 1


def _matches(condition: str | None, etag: str) -> bool:
    if condition is None:
        return False
    return condition.strip() == "*" or etag in [
        tag.strip().removeprefix("W/") for tag in condition.split(",")
    ]


def _bytes(call: Call, key: str, start: int, length: int) -> AsyncIterator[bytes]:
    return call.gateway.media.stream(key, start, length)
