"""What every upstream looks like to the rest of the product.

A provider translates, submits, polls, fetches and (where the upstream can) cancels. It never sees
an account, a price, the database or the clock, and it never decides what becomes of a task: it
says what the upstream said, as one of the closed sets of answers below.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from reelgate.domain.model import Operation


@dataclass(frozen=True, slots=True)
class JobInput:
    """One input of a job: a public `url`, or bytes that `load` reads; exactly one of them."""

    url: str | None = None
    mime: str | None = None
    load: Callable[[], Awaitable[bytes]] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One order in upstream terms. `model` is the upstream's own name of the model.

    `tier`, `aspect_ratio`, `width` and `height` are None where the source decides them;
    `seconds` is the length to make, for an extension the added part, None for an edit.
    """

    task_id: str
    operation: Operation
    model: str
    prompt: str
    seconds: int | None = None
    tier: str | None = None
    aspect_ratio: str | None = None
    width: int | None = None
    height: int | None = None
    images: tuple[JobInput, ...] = ()
    video: JobInput | None = None
    user: str | None = None


class Verdict(StrEnum):
    """Why an upstream refused or failed a job, in terms that the gateway acts on."""

    FAILED = "failed"
    MODERATED = "moderated"
    INVALID_INPUT = "invalid_input"
    INPUT_UNREACHABLE = "input_unreachable"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """What kind of trouble an upstream is in, for routing and for the operator."""

    NETWORK = "network"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    CREDITS_EXHAUSTED = "credits_exhausted"
    BAD_CREDENTIALS = "bad_credentials"
    MODEL_UNAVAILABLE = "model_unavailable"
    ZERO_DATA_RETENTION = "zero_data_retention"
    JOB_UNKNOWN = "job_unknown"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upstream has the job; `ref` is its opaque name for it.

    `poll_after_ms` is when to ask first, for an upstream that knows better than the catalogue.
    """

    ref: str
    poll_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream certainly refused this job, and would again. `message` is safe to show."""

    verdict: Verdict
    message: str
    cost_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The upstream certainly did not take the job, but it, or another upstream, might.

    `detail` is for the operator's log only.
    """

    cause: Cause
    detail: str
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Uncertain:
    """The upstream may or may not have the job. It must never be sent again by itself."""

    cause: Cause
    detail: str


SubmitAnswer = Accepted | Refused | NotTaken | Uncertain


@dataclass(frozen=True, slots=True)
class Pending:
    """Not done yet. `progress` is 0-99, or None when the upstream does not say."""

    progress: int | None = None
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The upstream has a result; `result` is what `fetch` takes. `cost_ticks`: 10^-10 USD."""

    result: str
    cost_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The upstream's definite verdict. `message` is safe to show to the task's owner."""

    verdict: Verdict
    message: str
    cost_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """No answer about the job; ask again later. `detail` is for the operator's log only.

    `if_repeated` comes with `Cause.JOB_UNKNOWN`: the upstream refuses the question itself, which
    right after a submit may pass, and is the verdict when it keeps saying so for a minute.
    """

    cause: Cause
    detail: str
    retry_after_ms: int | None = None
    if_repeated: Failed | None = None


PollAnswer = Pending | Done | Failed | Trouble


class FetchError(Exception):
    """A result could not be fetched (this time). The message is for the operator's log only."""


class ResultGone(FetchError):
    """The link to the result has died; a fresh poll may give a new one."""


class ResultChanged(FetchError):
    """The result is no longer the one that a resumed download began with."""


@dataclass(frozen=True, slots=True)
class Download:
    """An open result. `offset` is where `chunks` begin: 0 when resuming was not possible.

    `total` is the whole length in bytes when the upstream says it; `etag` pins a resumed download
    to the same bytes. `chunks` raises FetchError when the connection breaks or stalls.
    """

    chunks: AsyncIterator[bytes]
    offset: int
    total: int | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `reelgate upstreams check` found out without spending anything."""

    reachable: bool
    authorized: bool | None
    models_missing: tuple[str, ...]
    detail: str


class Provider(Protocol):
    """One upstream. Methods never raise for what an upstream does: they answer.

    Only what a job's `load` raises passes through `submit`, before anything was sent.
    `repeat_safe`: submitting the same `task_id` twice makes one job. `can_cancel`: `cancel` may
    work. `operations`: what this kind of upstream can do at all.
    """

    kind: str
    repeat_safe: bool
    can_cancel: bool
    operations: frozenset[Operation]

    async def submit(self, job: Job) -> SubmitAnswer: ...

    async def poll(self, ref: str) -> PollAnswer: ...

    def fetch(
        self, result: str, offset: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Download]:
        """Open a result at a byte offset; raises FetchError, ResultGone or ResultChanged."""
        ...

    async def cancel(self, ref: str) -> bool:
        """Ask the upstream to stop; True only when it certainly did."""
        ...

    async def check(self, models: tuple[str, ...]) -> CheckReport: ...

    async def tidy(self) -> int:
        """Drop what is kept here for jobs that nobody can ask for any more; returns how many."""
        ...

    async def close(self) -> None: ...
