"""JSON from outside as plain values, with one clear refusal for everything that is not JSON.

Stricter than most: a name given twice in one object is refused (two readers of one body must
never see two different orders), and so are NaN, numbers that no machine holds, half surrogate
pairs and deep nesting.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from reelgate.domain.errors import Code, Refusal

DEPTH_MAX = 16
# No request has nearly as many; a flood of them would hold up everybody while it is decoded.
COMMAS_MAX = 20_000

_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_POSITION = re.compile(r" \(byte (\d+)\)")
_HALF_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# A blank between a name and its colon is legal and rare; counting `":` would miss such names.
_BLANK_BEFORE_COLON = re.compile(rb'"[ \t\r\n]+:')
_UTF8_BOM = b"\xef\xbb\xbf"
_NAME_CHARS_SHOWN = 80


def decode_json(text: bytes | bytearray, param: str | None = None) -> Any:
    """The value that `text` stands for. `param` is the field that holds it, None for a body.

    Raises Refusal (`invalid_json`; `request_too_large` for too many values).
    """
    if text.count(b",") > COMMAS_MAX:
        raise _too_many(param)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep(param) from None
    except UnicodeDecodeError:
        raise _not_utf8(text, param) from None
    except msgspec.DecodeError as error:
        if text.startswith(_UTF8_BOM):
            return decode_json(text[len(_UTF8_BOM) :], param)
        raise _malformed(text, str(error), param) from None
    if isinstance(value, dict | list):
        names = _count_names(value, DEPTH_MAX, param)
        if text.count(b'":') != names or _BLANK_BEFORE_COLON.search(text):
            _refuse_repeated_names(text, param)
    return value


def _count_names(value: dict[str, Any] | list[Any], depth_left: int, param: str | None) -> int:
    """How many names all objects in `value` have; refuses what is nested too deeply."""
    if depth_left == 0:
        raise _too_deep(param)
    names = 0
    children: Iterable[Any] = value
    if isinstance(value, dict):
        names, children = len(value), value.values()
    for child in children:
        if isinstance(child, dict | list):
            names += _count_names(child, depth_left - 1, param)
    return names


def _refuse_repeated_names(text: bytes | bytearray, param: str | None) -> None:
    """The slow and exact check, for the few texts that the count could not clear."""

    def no_repeats(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                shown = name[:_NAME_CHARS_SHOWN]
                raise _invalid(param, f"gives `{shown}` twice in one object; give it once")
            seen.add(name)

    json.loads(text, object_pairs_hook=no_repeats)


def _too_deep(param: str | None) -> Refusal:
    return _invalid(param, f"is nested deeper than {DEPTH_MAX} levels")


def _too_many(param: str | None) -> Refusal:
    subject = f"`{param}`" if param else "The request body"
    return Refusal(
        Code.REQUEST_TOO_LARGE, f"{subject} has more than {COMMAS_MAX} values or commas.", param
    )


def _not_utf8(text: bytes | bytearray, param: str | None) -> Refusal:
    try:
        text.decode("utf-8")
        where = ""
    except UnicodeDecodeError as error:
        where = _where(text, error.start)
    return _invalid(param, f"is not UTF-8{where}")


def _malformed(text: bytes | bytearray, reason: str, param: str | None) -> Refusal:
    if text.lstrip()[:2] == b"--":
        return _invalid(
            param,
            "is not JSON: it looks like multipart/form-data that is labelled as JSON. Leave "
            "Content-Type unset and let the HTTP client write it, with its boundary",
        )
    if reason == "Input data was truncated":
        if _HALF_SURROGATE.search(text):
            return _invalid(param, "has half of a surrogate pair (\\ud800 to \\udfff alone)")
        return _invalid(param, f"is cut off{_where(text, len(text))}")
    if "out of range" in reason:
        return _invalid(param, "has a number that is out of range")
    reason = reason.removeprefix("JSON is malformed: ")
    match = _POSITION.search(reason)
    where = _where(text, int(match[1])) if match else ""
    return _invalid(param, f"is not valid JSON: {_POSITION.sub('', reason)}{where}")


def _where(text: bytes | bytearray, offset: int) -> str:
    """Line and column for people, counted from 1."""
    line = text.count(b"\n", 0, offset) + 1
    column = offset - (text.rfind(b"\n", 0, offset) + 1) + 1
    return f" at line {line}, column {column}"


def _invalid(param: str | None, what: str) -> Refusal:
    subject = f"`{param}`" if param else "The request body"
    return Refusal(Code.INVALID_JSON, f"{subject} {what}.", param)
