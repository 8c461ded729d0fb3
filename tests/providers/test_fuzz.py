"""Any answer at all is one of the closed set, whatever is in it: nothing is ever raised."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from reelgate.net.client import Reply
from reelgate.providers import openai_videos, xai
from reelgate.providers.base import (
    Accepted,
    Cause,
    Done,
    Failed,
    NotTaken,
    Pending,
    PollAnswer,
    Refused,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.dialects import DIALECTS

WORDS = (
    "pending", "done", "failed", "expired", "queued", "in_progress", "completed", "cancelled",
    "deleted", "unknown", "DONE", "", "imagine:content-moderated", "invalid-argument",
    "https://v.example/x.mp4", "file:///etc/passwd", "video", "0.42", "-1", "xai-Secret12345",
    "Bearer Secret12345", "45%",
)  # fmt: skip
FIELDS = (
    "status", "progress", "model", "video", "url", "duration", "respect_moderation", "usage",
    "cost_in_usd_ticks", "error", "code", "message", "detail", "request_id", "id", "task_id",
    "object", "billing", "cost", "type", "msg",
)  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=8)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


bodies = objects.map(encoded) | values.map(encoded) | st.binary(max_size=60)
cut = st.tuples(bodies, st.integers(0, 80)).map(lambda pair: pair[0][: pair[1]])
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after-ms", "openai-poll-after-ms", "Date"]),
    st.sampled_from(["3", "-1", "", "soon", "9" * 30, "Sun, 22 Nov 2026 10:00:07 GMT", "٣"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
).map(CIMultiDict)
statuses = st.sampled_from([200, 201, 202, 204, 302, 400, 401, 403, 404, 422, 429, 500, 503]) | (
    st.integers(100, 599)
)
replies = st.builds(Reply, statuses, headers, bodies | cut)


def check_ticks(ticks: int | None) -> None:
    assert ticks is None or (type(ticks) is int and 0 <= ticks < 2**63)


def check_wish(wish: int | None) -> None:
    assert wish is None or (type(wish) is int and 0 <= wish <= 3_600_000)


def check_words(message: str, most: int) -> None:
    assert 0 < len(message) <= most
    assert "Secret12345" not in message
    assert "://" not in message
    assert message.isprintable()


def check_submit(answer: SubmitAnswer) -> None:
    match answer:
        case Accepted():
            assert answer.ref.strip(".")
            assert answer.ref.isascii()
            check_wish(answer.poll_after_ms)
        case Refused():
            assert answer.verdict in Verdict
            check_words(answer.message, 300)
            check_ticks(answer.cost_ticks)
        case NotTaken():
            assert answer.cause in Cause
            check_words(answer.detail, 500)
            check_wish(answer.retry_after_ms)
        case Uncertain():
            assert answer.cause in Cause
            check_words(answer.detail, 500)


def check_poll(answer: PollAnswer, status: int) -> None:
    match answer:
        case Pending():
            assert 200 <= status < 300
            assert answer.progress is None or 0 <= answer.progress <= 99
            check_wish(answer.retry_after_ms)
        case Done():
            assert 200 <= status < 300
            assert answer.result.startswith(("https://", "http://", "/v1/videos/"))
            check_ticks(answer.cost_ticks)
        case Failed():
            check_words(answer.message, 300)
            check_ticks(answer.cost_ticks)
        case Trouble():
            check_words(answer.detail, 500)
            check_wish(answer.retry_after_ms)
            assert (answer.if_repeated is not None) is (answer.cause is Cause.JOB_UNKNOWN)
            if answer.if_repeated is not None:
                check_poll(answer.if_repeated, status)


@settings(max_examples=400, deadline=None)
@given(replies)
def test_xai_reads_anything(reply: Reply) -> None:
    check_submit(xai.read_submit(reply))
    check_poll(xai.read_poll(reply), reply.status)


@settings(max_examples=400, deadline=None)
@given(replies, st.sampled_from(sorted(DIALECTS)))
def test_openai_reads_anything(reply: Reply, name: Any) -> None:
    dialect = DIALECTS[name]
    idiom = openai_videos.idiom_of(dialect)
    check_submit(openai_videos.read_submit(reply, idiom))
    check_poll(openai_videos.read_poll(reply, "video_1", dialect, idiom), reply.status)


@settings(max_examples=200, deadline=None)
@given(replies)
def test_xai_never_calls_a_server_error_a_verdict(reply: Reply) -> None:
    broken = Reply(503, reply.headers, reply.body)
    assert isinstance(xai.read_poll(broken), Trouble)
    assert isinstance(xai.read_submit(broken), Uncertain)
