"""A provider in memory that says what it is told to: the upstream of the flow tests.

It never misbehaves by itself and keeps what it was asked. Answers are queued per method; when a
queue is empty, the job is accepted, done, and its film is delivered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from reelgate.domain.model import Operation
from reelgate.providers.base import (
    Accepted,
    CheckReport,
    Done,
    Download,
    FetchError,
    Job,
    PollAnswer,
    SubmitAnswer,
)

T = TypeVar("T")
# What a method is told to say: an answer, something to raise, or a function that answers.
OnSubmit = SubmitAnswer | BaseException | Callable[[], Awaitable[SubmitAnswer]]
OnPoll = PollAnswer | BaseException | Callable[[], Awaitable[PollAnswer]]
OnCancel = bool | BaseException | Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Fetch:
    """How one download goes.

    `cut_after`: the connection breaks after this many bytes. `film`: other bytes than usual.
    `from_start`: the range asked for is ignored. `says_total`: whether the length is announced.
    """

    film: bytes | None = None
    cut_after: int | None = None
    from_start: bool = False
    says_total: bool = True
    etag: str | None = '"1"'
    chunk_bytes: int = 4096


@dataclass(slots=True)
class FakeProvider:
    """See the module. `jobs` are what it was sent, `polls` and `fetches` what it was asked for."""

    film: bytes = b""
    kind: str = "fake"
    repeat_safe: bool = False
    can_cancel: bool = True
    operations: frozenset[Operation] = frozenset(Operation)
    on_submit: deque[OnSubmit] = field(default_factory=deque)
    on_poll: deque[OnPoll] = field(default_factory=deque)
    on_fetch: deque[Fetch | BaseException] = field(default_factory=deque)
    on_cancel: deque[OnCancel] = field(default_factory=deque)
    jobs: list[Job] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    polls: list[str] = field(default_factory=list)
    fetches: list[tuple[str, int, str | None]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)

    async def submit(self, job: Job) -> SubmitAnswer:
        for given in (*job.images, *([job.video] if job.video else [])):
            if given.load is not None:
                self.inputs.append(await given.load())
        self.jobs.append(job)
        return await _tell(self.on_submit, Accepted(f"ref-{len(self.jobs)}", poll_after_ms=1))

    async def poll(self, ref: str) -> PollAnswer:
        self.polls.append(ref)
        return await _tell(self.on_poll, Done(f"film-of-{ref}"))

    @asynccontextmanager
    async def fetch(
        self, result: str, offset: int = 0, etag: str | None = None
    ) -> AsyncIterator[Download]:
        self.fetches.append((result, offset, etag))
        told = self.on_fetch.popleft() if self.on_fetch else Fetch()
        if isinstance(told, BaseException):
            raise told
        film = self.film if told.film is None else told.film
        start = 0 if told.from_start else offset
        total = len(film) if told.says_total else None
        yield Download(_chunks(film, start, told), start, total, told.etag)

    async def cancel(self, ref: str) -> bool:
        self.cancels.append(ref)
        return await _tell(self.on_cancel, True)

    async def check(self, models: tuple[str, ...]) -> CheckReport:
        return CheckReport(reachable=True, authorized=None, models_missing=(), detail="a fake")

    async def tidy(self) -> int:
        return 0

    async def close(self) -> None:
        """Nothing is open."""


async def _tell(queue: deque[T | BaseException | Callable[[], Awaitable[T]]], otherwise: T) -> T:
    told = queue.popleft() if queue else otherwise
    if isinstance(told, BaseException):
        raise told
    if callable(told):
        return await told()
    return told


async def _chunks(film: bytes, start: int, told: Fetch) -> AsyncIterator[bytes]:
    end = len(film) if told.cut_after is None else min(len(film), start + told.cut_after)
    for at in range(start, end, told.chunk_bytes):
        await asyncio.sleep(0)
        yield film[at : min(at + told.chunk_bytes, end)]
    if told.cut_after is not None:
        raise FetchError("the connection broke")
