"""Any server that speaks OpenAI's Videos API: SGLang, vLLM-Omni, new-api, another Reelgate, …

Where they differ is data, in `dialects.py`; what this file reads is what all of them were seen to
send. Of a job's answer only its state is used: the paths and names of files in it (`file_path`,
`file_name`) are the server's own and go nowhere.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

import msgspec

from reelgate.domain.money import TICKS_PER_MICRO, parse_usd
from reelgate.net.client import Client, Part, Reply
from reelgate.net.errors import CallFailed, NotReceived
from reelgate.net.guard import Guard
from reelgate.providers.base import (
    Accepted,
    Cause,
    CheckReport,
    Done,
    Download,
    Job,
    NotTaken,
    Pending,
    PollAnswer,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.dialects import DIALECTS, Call, Dialect, DialectName
from reelgate.providers.http.checking import bearer, check_models
from reelgate.providers.http.idiom import INPUT_UNREACHABLE, Complaint, Idiom, sign
from reelgate.providers.http.inputs import InputUnreachable, as_bytes, as_link
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

UPLOAD_BYTES_MAX = 50 * 1024 * 1024
CANCEL_MS = 20_000

# What a file part is called; the servers look at the bytes, some at the ending.
_FILE_NAMES: Mapping[str, str] = {
    "image/jpeg": "input.jpg",
    "image/png": "input.png",
    "image/webp": "input.webp",
    "video/mp4": "input.mp4",
}

# Status words beyond OpenAI's. `unknown` (new-api#5045) is a job that has not begun, `deleted` is
# SGLang's; `done` comes through relays of xAI (new-api#5927). Every other word: still pending.
_ENDS: Mapping[str, Verdict] = {
    "failed": Verdict.FAILED,
    "expired": Verdict.EXPIRED,
    "cancelled": Verdict.CANCELLED,
    "canceled": Verdict.CANCELLED,
    "deleted": Verdict.CANCELLED,
}
_DONE = frozenset({"completed", "done"})


def billed_ticks(body: Body) -> int | None:
    """`billing.cost` of another Reelgate, decimal USD, as exact ticks of 10^-10 USD."""
    cost = child(body, "billing").get("cost")
    if not isinstance(cost, str):
        return None
    try:
        micro = parse_usd(cost)
    except ValueError:
        return None
    return micro * TICKS_PER_MICRO if micro >= 0 else None


def _no_bill(_body: Body) -> int | None:
    return None


_SIGNS = (
    sign(
        Verdict.MODERATED,
        r"content[-_ ]policy|moderation_blocked|sentinel_block|content[-_ ]filter"
        r"|content[-_ ]moderat",
    ),
    sign(
        Cause.CREDITS_EXHAUSTED,
        r"insufficient_(?:user_)?(?:quota|balance)|spend_limit_exceeded|budget[ _]?exceeded",
    ),
    sign(
        Cause.MODEL_UNAVAILABLE,
        r"model_not_(?:found|allowed)|no available channel"
        r"|\bmodel\b.{0,200}(?:not (?:exist|found|match|loaded|served)|mismatch)",
    ),
    sign(Cause.BAD_CREDENTIALS, r"invalid_api_key|(?:incorrect|invalid) api key|unauthorized"),
    sign(Cause.RATE_LIMITED, r"rate_limit|too many requests"),
    INPUT_UNREACHABLE,
    sign(Verdict.EXPIRED, r"^expired\n"),
    sign(Verdict.CANCELLED, r"^cancell?ed\n"),
    sign(Verdict.INVALID_INPUT, r"^invalid_(?:input|value|type)"),
)


class OpenAIVideos:
    """One server of the row `dialect`.

    The task's id goes along as `Idempotency-Key`; only a row that is `repeat_safe` honours it.
    `guard` opens the links of results, `inputs_guard` those that customers named: what an operator
    allows an upstream is not allowed to a customer.
    """

    kind = "openai"

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        guard: Guard,
        *,
        inputs_guard: Guard,
        dialect: DialectName = "openai",
        connections_max: int = 200,
        submit_ms: int = 120_000,
        poll_ms: int = 30_000,
    ) -> None:
        url = base_url.rstrip("/").removesuffix("/v1")
        self._dialect = DIALECTS[dialect]
        self._idiom = idiom_of(self._dialect)
        self._client = Client(url, connections_max=connections_max)
        self._headers = bearer(api_key, base_url)
        self._inputs_guard = inputs_guard
        self._results = Results(self._client, guard, url, self._headers)
        self._submit_ms = submit_ms
        self._poll_ms = poll_ms
        self.repeat_safe = self._dialect.repeat_safe
        self.can_cancel = self._dialect.can_cancel
        self.operations = frozenset(self._dialect.calls)

    async def submit(self, job: Job) -> SubmitAnswer:
        """Send the job once. Raises only what the inputs' `load` raises."""
        call = self._dialect.calls[job.operation]
        try:
            encoded, parts = await self._payload(job, call)
        except InputUnreachable as exc:
            return exc.refusal()
        try:
            reply = await self._client.request(
                "POST",
                call.path,
                timeout_ms=self._submit_ms,
                headers={**self._headers, "Idempotency-Key": job.task_id},
                json_body=encoded,
                parts=parts,
            )
        except NotReceived as exc:
            return NotTaken(Cause.NETWORK, str(exc))
        except CallFailed as exc:
            return Uncertain(Cause.NETWORK, str(exc))
        return read_submit(reply, self._idiom, job.prompt)

    async def poll(self, ref: str) -> PollAnswer:
        try:
            reply = await self._client.request(
                "GET", job_path(ref), timeout_ms=self._poll_ms, headers=self._headers
            )
        except CallFailed as exc:
            return Trouble(Cause.NETWORK, str(exc))
        return read_poll(reply, ref, self._dialect, self._idiom)

    def fetch(
        self, result: str, offset: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Download]:
        return self._results.open(result, offset, etag)

    async def cancel(self, ref: str) -> bool:
        """True when the answer is the job, cancelled."""
        if not self.can_cancel:
            return False
        try:
            reply = await self._client.request(
                "POST", f"{job_path(ref)}/cancel", timeout_ms=CANCEL_MS, headers=self._headers
            )
        except CallFailed:
            return False
        body = parse(reply.body)
        ended = 200 <= reply.status < 300 and body is not None and word(body) in _ENDS
        return ended and self._idiom.failed(body or {}).verdict is Verdict.CANCELLED

    async def check(self, models: tuple[str, ...]) -> CheckReport:
        wanted = models if self._dialect.checks_model else ()
        return await check_models(self._client, self._headers, ("/v1/models",), wanted, self._idiom)

    async def tidy(self) -> int:
        """Nothing of a job is kept here."""
        return 0

    async def close(self) -> None:
        await self._client.close()

    async def _payload(self, job: Job, call: Call) -> tuple[bytes | None, list[Part]]:
        """A JSON body or the parts of a form. Raises InputUnreachable and what `load` raises."""
        fields: dict[str, Any] = {
            "model": job.model,
            "prompt": job.prompt,
            "seconds": None if job.seconds is None else str(job.seconds),
            "size": self._size(job),
            "aspect_ratio": job.aspect_ratio,
            "operation": job.operation.value,
            "user": job.user,
        }
        if self._dialect.as_json:
            images = [{"url": await as_link(image)} for image in job.images]
            fields["images"] = images
            fields["image"] = images[0] if images else None
            fields["video"] = {"url": await as_link(job.video)} if job.video else None
            body = {name: fields[name] for name in call.fields if fields[name] is not None}
            return await asyncio.to_thread(msgspec.json.encode, body), []
        parts = [Part(name, fields[name]) for name in call.fields if fields[name] is not None]
        if call.file is not None:
            parts.append(await self._input_part(job, call, call.file))
        return None, parts

    async def _input_part(self, job: Job, call: Call, name: str) -> Part:
        """The one input of a form: a link where the server takes links, else a file."""
        source = job.video or job.images[0]
        if source.url is not None and call.link is not None:
            if call.link_key is None:
                return Part(call.link, source.url)
            return Part(call.link, msgspec.json.encode({call.link_key: source.url}).decode())
        data, mime = await as_bytes(source, self._inputs_guard, UPLOAD_BYTES_MAX)
        return Part(name, data, _FILE_NAMES.get(mime, "input"), mime)

    def _size(self, job: Job) -> str | None:
        if self._dialect.size == "tier":
            return job.tier
        return f"{job.width}x{job.height}" if job.width and job.height else None


def idiom_of(dialect: Dialect) -> Idiom:
    return Idiom(_SIGNS, billed_ticks if dialect.bills else _no_bill)


def job_path(ref: str) -> str:
    return f"/v1/videos/{quote(ref, safe='')}"


def read_submit(reply: Reply, idiom: Idiom, prompt: str = "") -> SubmitAnswer:
    """Total: any answer at all is one of the four. new-api once named the job `task_id` only."""
    body = parse(reply.body)
    if 200 <= reply.status < 300 and body is not None:
        ref = readable_ref(body.get("id")) or readable_ref(body.get("task_id"))
        if ref is not None:
            return Accepted(ref, wish_ms(reply.headers))
    return idiom.submit(reply, prompt)


def read_poll(reply: Reply, ref: str, dialect: Dialect, idiom: Idiom) -> PollAnswer:
    """Total: any answer at all is one of the four.

    vLLM-Omni answers for a failed job with the status of the failure, the job as body and an
    integer code; SGLang's error has no code at all.
    """
    body = parse(reply.body)
    if body is not None and body.get("object") == "video" and word(body) == "failed":
        return idiom.failed(body)
    if not 200 <= reply.status < 300:
        return idiom.poll(reply)
    wish = wish_ms(reply.headers)
    if body is None:
        if reply.status == 202:
            return Pending(retry_after_ms=wish)
        return Trouble(Cause.UNREADABLE, "a poll was answered with something else than JSON")
    state = word(body)
    if state in _DONE:
        return Done(_result(body, ref, dialect), idiom.cost_ticks(body))
    if state in _ENDS:
        return idiom.failed(body, _ENDS[state])
    if not state and Complaint.inside(body).text:
        return idiom.poll(reply)
    return Pending(percent(body.get("progress")), wish)


def _result(body: Body, ref: str, dialect: Dialect) -> str:
    """Where the bytes are. No `variant`: the default is the video everywhere, while SGLang reads
    the parameter as a number and knows no `video`.
    """
    url = body.get("url")
    if dialect.reports_link and isinstance(url, str) and url.startswith(("https://", "http://")):
        return url
    return f"{job_path(ref)}/content"
