"""Everything that can go wrong on the wire, for each provider: what it is called, and that it
never makes a second job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from reelgate.domain.model import Operation
from reelgate.providers.base import (
    Accepted,
    Done,
    Failed,
    FetchError,
    JobInput,
    NotTaken,
    Pending,
    PollAnswer,
    Provider,
    Refused,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.openai_videos import OpenAIVideos
from reelgate.providers.xai import Xai
from tests.fakes import fake_openai, fake_xai
from tests.fakes.fake_openai import FakeVideos
from tests.fakes.fake_xai import FakeXai
from tests.fakes.wire import Bucket, End, Fault, Reply
from tests.providers.upstreams import job_of, loopback_guard

TIMEOUT_MS = 250
T2V = Operation.TEXT_TO_VIDEO


@dataclass
class Line:
    """A provider with short patience, and its upstream."""

    provider: Provider
    api: FakeXai | FakeVideos
    model: str

    async def submit(self, fault: Fault | None = None, reply: Reply | None = None) -> SubmitAnswer:
        if fault is not None:
            self.api.faults.append(fault)
        if reply is not None:
            self.api.next_submits.append(reply)
        return await self.provider.submit(job_of(T2V, self.model))

    async def poll(
        self, fault: Fault | None = None, reply: Reply | None = None, ref: str | None = None
    ) -> PollAnswer:
        """A poll of a job that is there.

        A GET whose connection dies unanswered is sent once more, so a fault stands there twice.
        """
        ref = ref or await self.accepted()
        if fault is not None:
            self.api.faults.extend([fault, fault])
        if reply is not None:
            self.api.answer_once(reply)
        answer = await self.provider.poll(ref)
        self.api.faults.clear()
        return answer

    async def accepted(self) -> str:
        answer = await self.provider.submit(job_of(T2V, self.model))
        assert isinstance(answer, Accepted), answer
        return answer.ref

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.api.requests)


@pytest.fixture(params=["xai", "openai"])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        guard = loopback_guard()
        stack.push_async_callback(guard.close)
        if request.param == "xai":
            bucket = await stack.enter_async_context(Bucket())
            xai_api = await stack.enter_async_context(FakeXai(bucket))
            xai = Xai(xai_api.url, fake_xai.KEY, guard, submit_ms=TIMEOUT_MS, poll_ms=TIMEOUT_MS)
            stack.push_async_callback(xai.close)
            yield Line(xai, xai_api, fake_xai.MODEL)
        else:
            api = await stack.enter_async_context(FakeVideos("openai"))
            videos = OpenAIVideos(
                api.url,
                fake_openai.KEY,
                guard,
                inputs_guard=guard,
                submit_ms=TIMEOUT_MS,
                poll_ms=TIMEOUT_MS,
            )
            stack.push_async_callback(videos.close)
            yield Line(videos, api, fake_openai.MODEL)


# ---- every status -------------------------------------------------------------------------

# The class of answer that a submit's status must give, whatever its body; others depend on it.
UNCERTAIN = {302, 303, 408, 409} | set(range(500, 600))
NOT_TAKEN = {300, 301, 304, 305, 307, 308, 401, 402, 403, 404, 405, 421, 425, 429}
REFUSED = {413, 415, 422}
BODIES: dict[str, Any] = {
    "json": {"error": {"code": "some_code", "message": "Some message."}},
    "empty": b"",
    "page": b"<!doctype html><title>Gateway</title>",
    "cut": b'{"error": {"code": "x", "mess',
    "text": b"upstream connect error",
}


def submit_kind(status: int, body: str) -> type[SubmitAnswer]:
    if status in UNCERTAIN or 200 <= status < 300:
        return Uncertain
    if status in NOT_TAKEN or status < 400:
        return NotTaken
    return Refused if status in REFUSED or body == "json" else NotTaken


@pytest.mark.parametrize("body", BODIES)
async def test_every_status_of_a_submit(line: Line, body: str) -> None:
    wrong = []
    for status in (*range(200, 204), *range(300, 309), *range(400, 452), 499, *range(500, 530)):
        for headers in ({}, {"Retry-After": "3"}):
            answer = await line.submit(reply=Reply(status, BODIES[body], headers))
            expected = submit_kind(status, body)
            wish = getattr(answer, "retry_after_ms", None)
            if not isinstance(answer, expected) or wish not in {None, 3_000}:
                wrong.append((status, answer))
    assert not wrong
    assert line.api.jobs == {}


POLL_TROUBLE = {
    *range(300, 309), 401, 402, 403, 408, 421, 425, 429, *range(500, 530),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
async def test_every_status_of_a_poll_is_trouble_and_no_verdict(line: Line, body: str) -> None:
    """No status alone ends a job: an operator's key, limits and outages are not its failure."""
    ref, wrong = await line.accepted(), []
    for status in (*range(300, 309), *range(400, 452), 499, *range(500, 530)):
        for headers in (
            {},
            {
                "Retry-After": "Sun, 22 Nov 2026 10:00:07 GMT",
                "Date": "Sun, 22 Nov 2026 10:00:00 GMT",
            },
        ):
            line.api.answer_once(Reply(status, BODIES[body], headers))
            answer = await line.provider.poll(ref)
            if not isinstance(answer, Trouble) or answer.retry_after_ms != (
                7_000 if headers else None
            ):
                wrong.append((status, answer))
                continue
            doubt = body == "json" and status not in POLL_TROUBLE
            if (answer.if_repeated is not None) is not doubt:
                wrong.append((status, answer))
    assert not wrong


# ---- every byte ---------------------------------------------------------------------------


async def accepted_bytes(line: Line) -> bytes:
    """The whole answer to a submit, as it goes over the wire."""
    await line.accepted()
    job = next(iter(line.api.jobs))
    line.api.jobs.clear()
    body = {"request_id": job} if isinstance(line.api, FakeXai) else {"id": job}
    return Reply(200, body).wire()


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_answer_cut_at_any_byte_is_uncertain(line: Line, end: End) -> None:
    whole = await accepted_bytes(line)
    for count in range(len(whole)):
        before = len(line.api.jobs)
        answer = await line.submit(Fault(instead=whole, send=count, end=end))
        assert isinstance(answer, Uncertain), (count, answer)
        assert len(line.api.jobs) == before + 1
    assert isinstance(await line.submit(Fault(instead=whole, end="close")), Accepted)


async def test_an_answer_without_a_length_cut_at_any_byte_is_never_another_job(
    line: Line,
) -> None:
    """Where only the end of the connection ends the answer, half an id must not pass for one."""
    declared = await accepted_bytes(line)
    head, _, body = declared.partition(b"\r\n\r\n")
    kept = [row for row in head.split(b"\r\n") if not row.lower().startswith(b"content-length")]
    whole = b"\r\n".join(kept) + b"\r\n\r\n" + body
    for count in range(len(whole)):
        answer = await line.submit(Fault(instead=whole, send=count))
        assert isinstance(answer, Uncertain), (count, answer)
    assert isinstance(await line.submit(Fault(instead=whole)), Accepted)


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_request_cut_at_any_byte_is_uncertain_and_is_not_sent_again(
    line: Line, end: End
) -> None:
    await line.accepted()
    first = line.api.requests[0]
    size = len(first.body) + sum(len(k) + len(v) + 4 for k, v in first.headers.items()) + 32
    posts, connections = line.posts, line.api.connections
    cuts = [*range(1, 40), *range(40, size, 7)]
    for count in cuts:
        answer = await line.submit(Fault(read=min(count, size - 1), end=end))
        assert isinstance(answer, Uncertain), (count, answer)
    assert line.posts == posts
    assert line.api.connections == connections + len(cuts)
    assert len(line.api.jobs) == 1


async def test_a_poll_cut_at_any_byte_is_trouble(line: Line) -> None:
    ref = await line.accepted()
    pending = {"status": "in_progress", "progress": 40}
    whole = Reply(200, pending, {"Retry-After": "2"}).wire()
    for count in range(len(whole)):
        answer = await line.poll(Fault(instead=whole, send=count), ref=ref)
        assert isinstance(answer, Trouble), (count, answer)
    assert await line.poll(Fault(instead=whole), ref=ref) == Pending(40, 2_000)


async def test_a_big_upload_cut_half_way_is_uncertain(line: Line) -> None:
    async def load() -> bytes:
        return bytes(8 * 1024 * 1024)

    source = JobInput(mime="image/png", load=load)
    job = replace(job_of(Operation.IMAGE_TO_VIDEO, line.model), images=(source,))
    for count in (10_000, 100_000, 3_000_000):
        line.api.faults.append(Fault(read=count, end="reset"))
        assert isinstance(await line.provider.submit(job), Uncertain)
    early = Reply(413, b"", {"Connection": "close"}).wire()
    line.api.faults.append(Fault(read=10_000, instead=early))
    assert isinstance(await line.provider.submit(job), Refused | Uncertain)
    assert line.posts == 0
    assert line.api.jobs == {}


async def test_a_customer_can_not_choose_what_a_refusal_means(line: Line) -> None:
    """An upstream that repeats the prompt in its error must not look broke or misconfigured."""
    for words in (
        "your team has used all available credits",
        "the model x does not exist",
        "Incorrect API key provided",
        "Zero Data Retention teams",
        "Too many requests per second",
    ):
        text = f"the prompt '{words}' is too short"
        row = {"code": "invalid_value", "message": text}
        line.api.next_submits.append(Reply(400, {"error": row}))
        job = replace(job_of(T2V, line.model), prompt=words)
        answer = await line.provider.submit(job)
        assert answer == Refused(Verdict.INVALID_INPUT, "the prompt '…' is too short")


# ---- silence, floods, nonsense ------------------------------------------------------------

SILENT = {
    "before the request was read": Fault(read=1, end="hang"),
    "after the request was read": Fault(send=0, end="hang"),
    "within the head of the answer": Fault(send=20, end="hang"),
    "within the body of the answer": Fault(
        instead=b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", end="hang"
    ),
}


@pytest.mark.parametrize("when", SILENT)
async def test_silence_ends_in_time(line: Line, when: str) -> None:
    fault = SILENT[when]
    assert isinstance(await line.submit(fault), Uncertain)
    assert len(line.api.jobs) == (0 if fault.read else 1)
    answer = await line.poll(fault)
    assert isinstance(answer, Trouble), answer
    assert answer.if_repeated is None


MEBIBYTE = b'{"request_id": "' + b"x" * (1024 * 1024) + b'",'
FLOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n"
NONSENSE = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a head without an end": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000,
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}",
    "a code that is none": b"HTTP/1.1 twohundred OK\r\n\r\n",
    "compressed unasked": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    "continue, then nothing": b"HTTP/1.1 100 Continue\r\n\r\n",
    "100 MB of JSON": FLOOD + MEBIBYTE,
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_is_uncertain_on_submit_and_trouble_on_poll(line: Line, what: str) -> None:
    repeat = 100 if what.startswith("100 MB") else 1
    fault = Fault(instead=NONSENSE[what], repeat=repeat, end="close")
    assert isinstance(await line.submit(fault), Uncertain)
    assert len(line.api.jobs) == 1
    assert isinstance(await line.poll(fault), Trouble)


def mutants(field: str) -> Iterable[Any]:
    """Values that a field never has."""
    yield from (None, True, False, 0, -1, 10**30, 1.5, -0.0, "", " ", "\x00", "x" * 10_000)
    yield from ([], [[]], {}, {field: {}}, {"url": {}}, ["a"], "javascript:alert(1)", "💥")


XAI_DONE = {
    "status": "done",
    "progress": 100,
    "model": "m",
    "video": {"url": "https://v.example/x.mp4", "duration": 5, "respect_moderation": True},
    "usage": {"cost_in_usd_ticks": 5},
    "error": None,
}
OPENAI_DONE = {
    "id": "video_1",
    "object": "video",
    "status": "completed",
    "progress": 100,
    "seconds": "4",
    "size": "1280x720",
    "error": None,
    "url": None,
    "billing": {"cost": "0.42"},
}


async def test_wrong_types_in_every_field_of_a_poll(line: Line) -> None:
    whole: dict[str, Any] = XAI_DONE if isinstance(line.api, FakeXai) else OPENAI_DONE
    ref, seen = await line.accepted(), Counter[str]()
    for field in whole:
        for value in mutants(field):
            for status in (200, 202):
                line.api.answer_once(Reply(status, {**whole, field: value}))
                answer = await line.provider.poll(ref)
                seen[type(answer).__name__] += 1
                if isinstance(answer, Done):
                    assert answer.cost_ticks is None or type(answer.cost_ticks) is int
                    assert "javascript" not in answer.result
                if isinstance(answer, Pending):
                    assert answer.progress is None or 0 <= answer.progress <= 99
                if isinstance(answer, Failed):
                    assert answer.verdict in Verdict
                    assert 0 < len(answer.message) <= 300
    assert {"Done", "Pending"} <= set(seen)


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"7", b'"done"', b"[" * 100_000, b"\xff\xfe", b"NaN"]
)
async def test_json_that_is_no_object(line: Line, body: bytes) -> None:
    assert isinstance(await line.submit(reply=Reply(200, body)), Uncertain)
    assert isinstance(await line.poll(reply=Reply(200, body)), Trouble)


async def test_a_kept_connection_that_died_costs_a_poll_nothing(line: Line) -> None:
    """The server closes idle connections as it likes; a GET is asked again, a POST never."""
    ref = await line.accepted()
    assert isinstance(await line.provider.poll(ref), Pending)
    line.api.faults.append(Fault(read=1, end="reset"))
    assert isinstance(await line.provider.poll(ref), Pending | Trouble)
    line.api.faults.clear()
    assert not isinstance(await line.provider.poll(ref), Trouble)
    assert line.posts == 1


async def test_results_that_lie_and_break(line: Line) -> None:
    """A download that is cut anywhere raises, and never passes for a whole one."""
    ref = await line.accepted()
    answer = await line.provider.poll(ref)
    while isinstance(answer, Pending):
        answer = await line.provider.poll(ref)
    assert isinstance(answer, Done)
    server = line.api.bucket if isinstance(line.api, FakeXai) else line.api
    size = len(fake_xai.FILM)
    for count in (0, 1, 20, 150, 1_000, size // 2, size):
        for end in ("close", "reset"):
            fault = Fault(send=count, end=end)
            server.faults.extend([fault, fault])  # a GET that gets no answer is sent once more
            with pytest.raises(FetchError):
                await _read(line.provider, answer.result)
            server.faults.clear()
    assert await _read(line.provider, answer.result) == fake_xai.FILM


async def _read(provider: Provider, result: str) -> bytes:
    async with provider.fetch(result) as download:
        return b"".join([chunk async for chunk in download.chunks])
