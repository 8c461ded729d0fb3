"""Identifiers: opaque, unguessable, and sortable by the time they were made."""

import base64
import os
import re

# RFC 4648 base32 digits in ASCII order, so that text order is numeric order.
_SORTED_BASE32 = b"234567abcdefghijklmnopqrstuvwxyz"
_TO_SORTED = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _SORTED_BASE32)
_TIME_BYTES = 6
_RANDOM_BYTES = 14
_TASK_ID = re.compile(r"task_[2-7a-z]{32}\Z")


def _sortable(now_ms: int, tail: bytes) -> str:
    raw = now_ms.to_bytes(_TIME_BYTES, "big") + tail
    return base64.b32encode(raw).translate(_TO_SORTED).decode("ascii")


def new_task_id(now_ms: int) -> str:
    """`task_` and 32 base32 characters: 48 bits of milliseconds, then 112 random bits."""
    return "task_" + _sortable(now_ms, os.urandom(_RANDOM_BYTES))


def is_task_id(text: str) -> bool:
    """Whether `text` could be a task id; says nothing about whether the task exists."""
    return _TASK_ID.match(text) is not None


def new_id(prefix: str, now_ms: int) -> str:
    """A time-sortable id with a prefix, for everything that is not a task: `acct_…`, `evt_…`."""
    return f"{prefix}_{_sortable(now_ms, os.urandom(_RANDOM_BYTES))}"
