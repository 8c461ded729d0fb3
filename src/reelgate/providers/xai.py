"""xAI's video API, spoken exactly: JSON only, asynchronous, polled; no list, no cancel.

Facts are from docs.x.ai (`rest-api-reference/inference/videos`, `model-capabilities/video/*`, read
on 2026-11-22) and from what its users reported seeing; the latter are named where they are used.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from reelgate.domain.model import Operation
from reelgate.net.client import Client, Reply
from reelgate.net.errors import CallFailed, NotReceived
from reelgate.net.guard import Guard
from reelgate.providers.base import (
    Accepted,
    Cause,
    CheckReport,
    Done,
    Download,
    Failed,
    Job,
    NotTaken,
    Pending,
    PollAnswer,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.http.checking import bearer, check_models
from reelgate.providers.http.idiom import INPUT_UNREACHABLE, MESSAGES, Idiom, sign
from reelgate.providers.http.inputs import as_link
from reelgate.providers.http.reading import (
    Body,
    child,
    parse,
    percent,
    readable_ref,
    wish_ms,
    word,
)
from reelgate.providers.http.results import Results

TICKS_MAX = 2**63 - 1

ImageTags = Literal["as_given", "zero_based", "one_based"]


@dataclass(frozen=True, slots=True)
class Call:
    """Where an operation is sent, and the only fields that it takes there."""

    path: str
    fields: tuple[str, ...]


_GENERATE = "/v1/videos/generations"
_SHAPE = ("model", "prompt", "duration", "resolution", "aspect_ratio", "user")
CALLS: Mapping[Operation, Call] = {
    Operation.TEXT_TO_VIDEO: Call(_GENERATE, _SHAPE),
    Operation.IMAGE_TO_VIDEO: Call(_GENERATE, (*_SHAPE, "image")),
    Operation.REFERENCE_TO_VIDEO: Call(_GENERATE, (*_SHAPE, "reference_images")),
    Operation.EDIT_VIDEO: Call("/v1/videos/edits", ("model", "prompt", "video", "user")),
    Operation.VIDEO_EXTEND: Call("/v1/videos/extensions", ("model", "prompt", "duration", "video")),
}

# How the prompt names the reference images: what `@Image1` becomes. xAI's newer pages, grok-build
# and ComfyUI count from zero, its older page from one; on the classic model neither is proven.
IMAGE_TAGS: Mapping[ImageTags, tuple[str, int] | None] = {
    "as_given": None,
    "zero_based": ("<IMAGE_{}>", -1),
    "one_based": ("<IMAGE_{}>", 0),
}
_IMAGE_TAG = re.compile(r"@Image(\d+)")


def cost_ticks(body: Body) -> int | None:
    """`usage.cost_in_usd_ticks`, raw: 10^-10 USD, also on a job that failed or was blocked."""
    ticks = child(body, "usage").get("cost_in_usd_ticks")
    return ticks if type(ticks) is int and 0 <= ticks <= TICKS_MAX else None


# The HTTP status alone does not tell: a wrong key is a 400 (continue#10778), used-up credits are a
# 429 (continue#10373) or a 403 (warp#14867), a blocked video is a 400 on the poll.
IDIOM = Idiom(
    signs=(
        # `imagine:content-moderated`, "rejected by content moderation" (vercel/ai#13390)
        sign(Verdict.MODERATED, r"content[-_ ]moderat|usage guidelines|content[-_ ]policy"),
        # "Zero Data Retention teams must provide output.upload_url" (grok-build-vscode#100)
        sign(Cause.ZERO_DATA_RETENTION, r"zero[-_ ]data[-_ ]retention|output\.upload_url"),
        # "used all available credits or reached its monthly spending limit" (hermes-agent#26847)
        sign(Cause.CREDITS_EXHAUSTED, r"\b(?:all available|out of|any) credits|spending[- ]limit"),
        # "The model … does not exist or your team … does not have access" (NextChat#6397),
        # "No handler found on route" (AIWriteX#26)
        sign(
            Cause.MODEL_UNAVAILABLE,
            r"\bmodel\b.{0,200}(?:does not exist|not available|no access)|no handler found",
        ),
        # "Incorrect API key provided: xa***ys" (beeai-framework#447: percent-encoded as well)
        sign(
            Cause.BAD_CREDENTIALS,
            r"(?:incorrect|invalid|missing|no|disabled|blocked)(?: |%20)api[-_ %20]{0,3}key",
        ),
        sign(Cause.RATE_LIMITED, r"requests per (?:second|minute)|too many requests|rate limit"),
        INPUT_UNREACHABLE,
        sign(Verdict.INVALID_INPUT, r"^(?:invalid[-_ ]argument|client specified an invalid)"),
    ),
    cost_ticks=cost_ticks,
)


class Xai:
    """One xAI account, or a relay that speaks the same API.

    Submits are never repeated: no idempotency is documented, so a lost answer may be a paid job.
    """

    kind = "xai"
    repeat_safe = False
    can_cancel = False
    operations = frozenset(CALLS)

    def __init__(
        self,
        base_url: str,
        api_key: str,
        guard: Guard,
        *,
        image_tags: ImageTags = "as_given",
        connections_max: int = 200,
        submit_ms: int = 120_000,
        poll_ms: int = 30_000,
    ) -> None:
        url = base_url.rstrip("/").removesuffix("/v1")
        self._client = Client(url, connections_max=connections_max)
        self._headers = bearer(api_key, base_url)
        self._results = Results(self._client, guard, url, self._headers)
        self._image_tags = image_tags
        self._submit_ms = submit_ms
        self._poll_ms = poll_ms

    async def submit(self, job: Job) -> SubmitAnswer:
        """Send the job once. Raises only what the inputs' `load` raises."""
        call = CALLS[job.operation]
        fields = await self._fields(job)
        body = {name: fields[name] for name in call.fields if fields[name] is not None}
        encoded = await asyncio.to_thread(msgspec.json.encode, body)
        try:
            reply = await self._client.request(
                "POST",
                call.path,
                timeout_ms=self._submit_ms,
                headers=self._headers,
                json_body=encoded,
            )
        except NotReceived as exc:
            return NotTaken(Cause.NETWORK, str(exc))
        except CallFailed as exc:
            return Uncertain(Cause.NETWORK, str(exc))
        return read_submit(reply, job.prompt)

    async def poll(self, ref: str) -> PollAnswer:
        try:
            reply = await self._client.request(
                "GET",
                f"/v1/videos/{quote(ref, safe='')}",
                timeout_ms=self._poll_ms,
                headers=self._headers,
            )
        except CallFailed as exc:
            return Trouble(Cause.NETWORK, str(exc))
        return read_poll(reply)

    def fetch(
        self, result: str, offset: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Download]:
        return self._results.open(result, offset, etag)

    async def cancel(self, ref: str) -> bool:
        """Never: xAI has no cancel."""
        return False

    async def check(self, models: tuple[str, ...]) -> CheckReport:
        paths = ("/v1/video-generation-models", "/v1/models")
        return await check_models(self._client, self._headers, paths, models, IDIOM)

    async def tidy(self) -> int:
        """Nothing of a job is kept here."""
        return 0

    async def close(self) -> None:
        await self._client.close()

    async def _fields(self, job: Job) -> dict[str, Any]:
        """Every field xAI knows, None where the job says nothing."""
        images = [{"url": await as_link(image)} for image in job.images]
        return {
            "model": job.model,
            "prompt": tagged(job.prompt, self._image_tags) if images else job.prompt,
            "duration": job.seconds,
            "resolution": job.tier,
            "aspect_ratio": None if job.aspect_ratio == "auto" else job.aspect_ratio,
            "image": images[0] if images else None,
            "reference_images": images or None,
            "video": {"url": await as_link(job.video)} if job.video else None,
            "user": job.user,
        }


def tagged(prompt: str, image_tags: ImageTags) -> str:
    """The prompt with its `@Image1` as a row of IMAGE_TAGS says."""
    row = IMAGE_TAGS[image_tags]
    if row is None:
        return prompt
    form, shift = row
    return _IMAGE_TAG.sub(lambda match: form.format(int(match[1]) + shift), prompt)


def read_submit(reply: Reply, prompt: str = "") -> SubmitAnswer:
    """Total: any answer at all is one of the four."""
    body = parse(reply.body)
    if 200 <= reply.status < 300 and body is not None:
        ref = readable_ref(body.get("request_id"))
        if ref is not None:
            return Accepted(ref, wish_ms(reply.headers))
    return IDIOM.submit(reply, prompt)


def read_poll(reply: Reply) -> PollAnswer:
    """Total: any answer at all is one of the four.

    Seen live: 202 with and without a body, 200 without a status, moderation in three shapes
    (400; `failed`; `done` without a URL), a proxy's plain text.
    """
    body = parse(reply.body)
    ended = reply.status < 500 and body is not None and word(body) == "failed"
    if not (ended or 200 <= reply.status < 300):
        return IDIOM.poll(reply)
    pending = Pending(retry_after_ms=wish_ms(reply.headers))
    if body is None:
        if reply.status == 202:
            return pending
        return Trouble(Cause.UNREADABLE, "a poll was answered with something else than JSON")
    match word(body):
        case "done":
            return _done(body)
        case "failed":
            return IDIOM.failed(body)
        case "expired":
            return IDIOM.failed(body, Verdict.EXPIRED)
        case "" if body.get("video"):
            return _done(body)  # early 2026: finished bodies had no status
        case "" if body.get("error"):
            return IDIOM.poll(reply)
        case _:  # `pending`, or a word of tomorrow: the task's deadline ends it
            return Pending(percent(body.get("progress")), pending.retry_after_ms)


def _done(body: Body) -> PollAnswer:
    """`done` without a URL is an end too: waiting for one looped for ever (opencodex#582)."""
    video, cost = child(body, "video"), cost_ticks(body)
    if video.get("respect_moderation") is False:
        return Failed(Verdict.MODERATED, MESSAGES[Verdict.MODERATED], cost)
    url = video.get("url")
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return Done(url, cost)
    if not url and not isinstance(body.get("video"), str | list):
        return Failed(Verdict.FAILED, "The upstream finished without a video.", cost)
    return Trouble(Cause.UNREADABLE, "a finished job has no readable URL")
