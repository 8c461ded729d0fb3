"""Every recorded answer is read as what it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from reelgate.net.client import Reply
from reelgate.providers import openai_videos, xai
from reelgate.providers.base import NotTaken, PollAnswer, SubmitAnswer, Trouble, Uncertain
from reelgate.providers.dialects import DIALECTS
from tests.providers.recordings import (
    OPENAI_POLLS,
    OPENAI_SUBMITS,
    XAI_POLLS,
    XAI_SUBMITS,
    Recording,
)


def reply_of(recording: Recording) -> Reply:
    body = recording.body
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Reply(recording.status, CIMultiDict(recording.headers), body)


def told(answer: SubmitAnswer | PollAnswer) -> SubmitAnswer | PollAnswer:
    """The answer without its words for the log, which must be there and hold no key or link."""
    if isinstance(answer, NotTaken | Uncertain | Trouble):
        assert answer.detail
        assert "://" not in answer.detail
        assert "**" not in answer.detail
        return replace(answer, detail="")
    return answer


def named(recording: Recording) -> str:
    return f"{recording.dialect}: {recording.name}"


@pytest.mark.parametrize("recording", XAI_POLLS, ids=named)
def test_xai_poll(recording: Recording) -> None:
    assert told(xai.read_poll(reply_of(recording))) == recording.expected


@pytest.mark.parametrize("recording", XAI_SUBMITS, ids=named)
def test_xai_submit(recording: Recording) -> None:
    assert told(xai.read_submit(reply_of(recording))) == recording.expected


@pytest.mark.parametrize("recording", OPENAI_POLLS, ids=named)
def test_openai_poll(recording: Recording) -> None:
    dialect = DIALECTS[recording.dialect]
    idiom = openai_videos.idiom_of(dialect)
    answer = openai_videos.read_poll(reply_of(recording), "video_1", dialect, idiom)
    assert told(answer) == recording.expected


@pytest.mark.parametrize("recording", OPENAI_SUBMITS, ids=named)
def test_openai_submit(recording: Recording) -> None:
    idiom = openai_videos.idiom_of(DIALECTS[recording.dialect])
    answer = openai_videos.read_submit(reply_of(recording), idiom)
    assert told(answer) == recording.expected
