"""An upstream's own words, made fit to show: to a task's owner, or in the operator's log."""

import re
from urllib.parse import unquote

MESSAGE_CHARS_MAX = 300
DETAIL_CHARS_MAX = 500
# What an upstream says may be megabytes of a proxy's page: only its beginning is looked at.
READ_CHARS_MAX = 1_000

Masks = tuple[tuple[re.Pattern[str], str], ...]


def _mask(pattern: str, instead: str) -> tuple[re.Pattern[str], str]:
    return re.compile(pattern, re.IGNORECASE), instead


# Never in a log either. xAI echoes a refused key half masked, as `xa***ys` (continue#10778).
_SECRET: Masks = (
    _mask(r"\b(?:bearer|basic)\s+\S+", "[key]"),
    _mask(r"\b(?:sk|xai|whsec)[-_][\w*.-]{3,}", "[key]"),
    _mask(r"\w{0,8}\*{2,}\w{0,8}", "[key]"),
    _mask(r"\bdata:[\w/+.-]{1,80};base64,\S*", "[data]"),
    _mask(r"\b[a-z][a-z0-9+.-]{0,20}://\S*", "[link]"),
)

# Whose account it is, and what the upstream's machines are called, is the operator's business.
_PRIVATE: Masks = (
    _mask(r"\b[\w.+-]{1,64}@[\w-]+\.[\w.-]+", "[address]"),
    _mask(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "[id]"),
    _mask(r"\b(?=(?:[a-z_-]*\d){4})[\w-]{20,}", "[id]"),  # `grok-imagine-video-1` is a name
    _mask(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "[host]"),
    _mask(r"\[[0-9a-f.]*:[0-9a-f:.]*\](?::\d+)?|(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}", "[host]"),
    _mask(
        r"\b(?:localhost|(?:[\w-]+\.)+(?:ai|app|cloud|cluster|cn|co|com|dev|internal|io|lan|local"
        r"|net|org|svc))\b(?::\d+)?(?:/\S*)?",
        "[host]",
    ),
    _mask(r"(?<![\w/])(?:[a-z]:)?(?:[/\\][\w.@-]+){2,}[/\\]?", "[path]"),
    (
        re.compile(
            r"\b((?i:team|organi[sz]ation|project|workspace|account|user)(?i:\s+(?:id|name))?)"
            r"[\s:=]+(?:\"[^\"]*\"|'[^']*'|\[id\]|[\w.-]*[A-Z0-9][\w.-]*)"
        ),
        r"\1 [id]",
    ),
)


def shown(text: str, instead: str) -> str:
    """`text` as a task's owner may read it, or `instead` where nothing is left of it."""
    return _clean(text, _SECRET + _PRIVATE, MESSAGE_CHARS_MAX) or instead


def logged(text: str) -> str:
    """`text` as it may stand in the operator's log: without keys, links and data."""
    return _clean(text, _SECRET, DETAIL_CHARS_MAX)


def _clean(text: str, masks: Masks, chars_max: int) -> str:
    text = text[:READ_CHARS_MAX]
    if "%20" in text and " " not in text:  # xAI percent-encoded some of its texts (beeai#447)
        text = unquote(text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    for pattern, instead in masks:
        text = pattern.sub(instead, text)
    return text if len(text) <= chars_max else text[: chars_max - 1].rstrip() + "…"
