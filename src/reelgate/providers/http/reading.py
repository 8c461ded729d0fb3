"""Reading what an upstream sends without trusting it: every field's type is in doubt.

Nothing here raises, whatever it is given.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from reelgate.net.stream import retry_after_ms

Body = Mapping[str, Any]

REF_CHARS_MAX = 512
# A longer wish is a mistake or worse.
RETRY_AFTER_MS_MAX = 3_600_000


def parse(data: bytes) -> Body | None:
    """The JSON object in `data`; None for anything else, however broken, deep or huge."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def child(body: Body, name: str) -> Body:
    """The object at `name`, empty when there is none."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """A string, or a whole number as one (some servers send integer codes); else empty."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    return value if isinstance(value, str) else ""


def word(body: Body) -> str:
    """The status word, in lower case; empty when it is missing or is no word."""
    status = body.get("status")
    return status.strip().lower() if isinstance(status, str) else ""


def percent(value: object) -> int | None:
    """Progress as 0-99, from a number or text such as `45%`; None when it says nothing."""
    if isinstance(value, str):
        digits = value.strip().removesuffix("%").partition(".")[0]
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(max(0, min(value, 99)))


def readable_ref(value: object) -> str | None:
    """A job's name that can stand in a path as one segment, else None."""
    if not isinstance(value, str) or not 0 < len(value) <= REF_CHARS_MAX:
        return None
    visible = value.isascii() and value.isprintable() and " " not in value
    return value if visible and value.strip(".") else None


def wish_ms(headers: Mapping[str, str]) -> int | None:
    """How long the upstream asks to wait, by `Retry-After` or one of its kin in milliseconds."""
    for name in ("retry-after-ms", "openai-poll-after-ms"):
        value = headers.get(name, "")
        if value.isascii() and value.isdigit() and len(value) < 10:
            return min(int(value), RETRY_AFTER_MS_MAX)
    wish = retry_after_ms(headers)
    return None if wish is None else min(wish, RETRY_AFTER_MS_MAX)
