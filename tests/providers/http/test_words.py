"""What may be shown of an upstream's words, and what must not be even logged."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate.providers.http.words import DETAIL_CHARS_MAX, MESSAGE_CHARS_MAX, logged, shown

TEAM = "16f2151a-40f4-4a80-8ad0-cae00c27e8dd"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Generated video rejected by content moderation.", None),
        ("Duration 15s exceeds the maximum allowed of 10s at 16:9, 8.7 s, 480p.", None),
        ("Zero Data Retention teams must provide output.upload_url.", None),
        ("The model grok-imagine-video-1.5 takes no video.", None),
        ("Die Länge muss 1–15 s sein: 動画 💥", None),
        ("Incorrect API key provided: xa***ys.", "Incorrect API key provided: [key]."),
        ("key sk-proj-Abc_123 or xai-Abc123", "key [key] or [key]"),
        ("Authorization: Bearer abc.def/ghi=", "Authorization: [key]"),
        ("see https://console.x.ai/team/x?sig=1 now", "see [link] now"),
        ("s3://bucket/key and ftp://a/b", "[link] and [link]"),
        ("got data:image/png;base64,AAAA/BBB+ instead", "got [data] instead"),
        ("mail bob@corp.example for help", "mail [address] for help"),
        (f"Your team {TEAM} has no credits", "Your team [id] has no credits"),
        ("team Acme and organization 'My Org'", "team [id] and organization [id]"),
        ("request req_0123456789abcdef0123456789", "request [id]"),
        ("at /srv/models/wan/pipe.py line 3", "at [path] line 3"),
        (r"at C:\Users\bob\pipe.py", "at [path]"),
        ("cannot reach 10.0.0.3:8000", "cannot reach [host]"),
        ("cannot reach [fe80::1]:80 or fe80:0:0:1::2", "cannot reach [host] or [host]"),
        ("cannot reach gpu-7.cluster.local:30000/x", "cannot reach [host]"),
        ("Prompt%20is%20too%20long.", "Prompt is too long."),
        ("two\nlines\r\n\tand\x00\x1b[31m colour", "two lines and [31m colour"),
        ("", "instead"),
        (" \n ", "instead"),
    ],
)
def test_shown(said: str, expected: str | None) -> None:
    assert shown(said, "instead") == (said if expected is None else expected)


def test_the_log_keeps_ids_and_hosts_but_no_key_and_no_link() -> None:
    text = f"team {TEAM} on 10.0.0.3 with xai-Abc123 and https://a.example/x?sig=1"
    assert logged(text) == f"team {TEAM} on 10.0.0.3 with [key] and [link]"


def test_both_are_short_and_say_that_they_were_cut() -> None:
    assert len(shown("word " * 10_000, "-")) <= MESSAGE_CHARS_MAX
    assert len(logged("word " * 10_000)) <= DETAIL_CHARS_MAX
    assert logged("word " * 10_000).endswith("…")


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_key_never_stays(before: str, after: str) -> None:
    for clean in (
        shown(f"{before} xai-Secret12345 {after}", "-"),
        logged(f"{before} sk-Se_9 {after}"),
    ):
        assert "Secret12345" not in clean
        assert "sk-Se_9" not in clean
        assert re.search(r"[\x00-\x1f\x7f]", clean) is None


@pytest.mark.parametrize(
    "piece", ["a-", "a.", "/a", "*", "ab:", "data:", "x@", "team ", "a1", "::"]
)
def test_no_text_takes_long(piece: str) -> None:
    started = time.perf_counter()
    shown(piece * 1_000_000, "-")
    assert time.perf_counter() - started < 1
