"""Forms as nested plain structures: `multipart/form-data` and urlencoded, with bracketed keys.

The OpenAI SDKs send `a[b][c]` for objects, `a[]` repeated for lists, `a[][x]` for lists of
objects; curl and LiteLLM repeat the plain name. All of them come out as the same structure.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from reelgate.api.json_text import DEPTH_MAX
from reelgate.domain.errors import Code, Refusal

_MIB = 1024 * 1024
REQUEST_BYTES_MAX = 128 * _MIB


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much of a body is taken in. `file_bytes_max` is by the name of the field, without
    brackets; a file in any other field may have `other_file_bytes_max`. After `idle_s_max` in
    which nothing came a body is given up.
    """

    request_bytes_max: int = REQUEST_BYTES_MAX
    other_file_bytes_max: int = 50 * _MIB
    file_bytes_max: Mapping[str, int] = field(default_factory=dict)
    parts_max: int = 1000
    key_chars_max: int = 256
    idle_s_max: float = 60.0


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file. `filename` and `content_type` are what the client says: never trusted."""

    filename: str
    content_type: str
    data: bytes
    sha256: str


Pair = tuple[str, str | Upload]


# ---- multipart ----------------------------------------------------------------------------


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(slots=True)
class _Part:
    """One part while it arrives; `filename` is None for a plain field."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    filename: str | None = None
    bytes_max: int = 0
    data: bytearray = field(default_factory=bytearray)
    hash: _Hash = field(default_factory=hashlib.sha256)


class MultipartReader:
    """Takes a multipart body in chunks, as they arrive; holds no more than the limits allow.

    Both methods raise Refusal: `request_too_large` for what is over a limit, `invalid_value` for
    what is not multipart.
    """

    def __init__(self, boundary: bytes, limits: BodyLimits) -> None:
        self._limits = limits
        self._pairs: list[Pair] = []
        self._part = _Part()
        self._parts = 0
        self._header = b""
        self._value = b""
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def finish(self) -> list[Pair]:
        if not self._complete:
            raise _malformed("it ends before its closing boundary")
        return self._pairs

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts_max:
            raise _too_many(self._limits)
        self._part = _Part()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._part.headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        part, limits = self._part, self._limits
        disposition = part.headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise _malformed("a part has no name in its Content-Disposition")
        part.name = _text(options[b"name"], None)
        part.bytes_max = limits.request_bytes_max
        # RFC 7578 forbids `filename*=`, and some clients send nothing else.
        if b"filename" in options or b"filename*=" in disposition.lower():
            part.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            root = part.name.partition("[")[0]
            part.bytes_max = limits.file_bytes_max.get(root, limits.other_file_bytes_max)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if len(part.data) + end - start > part.bytes_max:
            raise file_too_large(part.name, part.bytes_max)
        chunk = data[start:end]
        part.data += chunk
        if part.filename is not None:
            part.hash.update(chunk)

    def _on_part_end(self) -> None:
        part = self._part
        if part.filename is None:
            self._pairs.append((part.name, _text(part.data, part.name)))
        elif part.filename or part.data:  # a form's file field that nobody filled has neither
            content_type = part.headers.get(b"content-type", b"").decode("latin-1")
            data, digest = bytes(part.data), part.hash.hexdigest()
            self._pairs.append((part.name, Upload(part.filename, content_type, data, digest)))
        self._part = _Part()

    def _on_end(self) -> None:
        self._complete = True


def file_too_large(name: str, bytes_max: int) -> Refusal:
    """413 for one file of a request."""
    return Refusal(
        Code.REQUEST_TOO_LARGE,
        f"The file in `{name}` has more than {bytes_max // _MIB} MiB, the most taken there.",
        name.partition("[")[0],
    )


def _text(data: bytes | bytearray, param: str | None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        subject = f"`{param}`" if param else "The name of a form field"
        raise Refusal(Code.INVALID_VALUE, f"{subject} is not UTF-8 text.", param) from None


def _malformed(reason: str) -> Refusal:
    return Refusal(Code.INVALID_VALUE, f"The body is not valid multipart/form-data: {reason}.")


def _too_many(limits: BodyLimits) -> Refusal:
    return Refusal(
        Code.REQUEST_TOO_LARGE, f"The form has more than {limits.parts_max} fields, the most taken."
    )


# ---- urlencoded ---------------------------------------------------------------------------

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def urlencoded_pairs(body: bytes | bytearray, limits: BodyLimits) -> list[Pair]:
    """The fields of an `application/x-www-form-urlencoded` body. Raises Refusal."""
    if body.lstrip()[:1] == b"{":
        raise Refusal(
            Code.INVALID_VALUE,
            "The body is JSON, but Content-Type says application/x-www-form-urlencoded (what curl "
            "-d sends by default). Add the header Content-Type: application/json.",
        )
    if body.count(b"&") >= limits.parts_max:
        raise _too_many(limits)
    pairs: list[Pair] = []
    for pair in bytes(body).split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            key = _text(_percent_decoded(name), None)
            pairs.append((key, _text(_percent_decoded(value), key)))
    return pairs


def _percent_decoded(text: bytes) -> bytes:
    """What `urllib` does, without minutes of work on a body of nothing but escapes."""
    if _BAD_ESCAPE.search(text):
        raise Refusal(
            Code.INVALID_VALUE,
            "The form has a % that is not followed by two hexadecimal digits; a percent sign is "
            "written %25 (curl: --data-urlencode).",
        )
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    # The same escapes with another sign, and decoded in C.
    return binascii.a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))


# ---- bracketed keys -----------------------------------------------------------------------

_KEY = re.compile(r"[^\[\]]+(?:\[[^\[\]]*\])+\Z")


def nest(pairs: list[Pair], limits: BodyLimits) -> dict[str, Any]:
    """One structure from `a[b][c]`, `a[]`, `a[][x]` and repeated plain names.

    A key whose brackets do not fit together is a name like any other (and unknown to everybody).
    Raises Refusal.
    """
    form: dict[str, Any] = {}
    for key, value in pairs:
        if len(key) > limits.key_chars_max:
            raise Refusal(
                Code.INVALID_VALUE,
                f"A form field's name has {len(key)} characters; at most {limits.key_chars_max}.",
            )
        path = [key]
        if "[" in key and _KEY.match(key) and "[][]" not in key:
            path = key[:-1].replace("][", "[").split("[")
        if len(path) > DEPTH_MAX:
            raise Refusal(
                Code.INVALID_VALUE, f"`{key}` is nested deeper than {DEPTH_MAX} levels.", path[0]
            )
        _put(form, path, value, key)
    return form


def _put(node: dict[str, Any], path: list[str], value: str | Upload, key: str) -> None:
    name = path[0]
    if len(path) == 1:
        if name in node:
            _items(node, name, key).append(value)
        else:
            node[name] = value
    elif path[1] == "":
        items = _items(node, name, key)
        if len(path) == 2:
            items.append(value)
            return
        # Objects in a list are told apart by a name that comes again.
        last = items[-1] if items else None
        if not isinstance(last, dict) or (len(path) == 3 and path[2] in last):
            items.append({})
        _put(items[-1], path[2:], value, key)
    else:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise _clash(key)
        _put(child, path[1:], value, key)


def _items(node: dict[str, Any], name: str, key: str) -> list[Any]:
    """The list under a name, made from the single value there if need be."""
    found = node.setdefault(name, [])
    if isinstance(found, dict):
        raise _clash(key)
    if not isinstance(found, list):
        found = node[name] = [found]
    return found


def _clash(key: str) -> Refusal:
    root = key.partition("[")[0]
    return Refusal(
        Code.CONFLICTING_PARAMETERS,
        f"`{root}` was given both as a plain value and as an object (`{key}`); give it once.",
        root,
    )
