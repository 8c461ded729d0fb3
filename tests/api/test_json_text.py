"""JSON from outside: plain values, or one clear refusal. Never another exception."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelgate.api.json_text import DEPTH_MAX, decode_json
from reelgate.domain.errors import Code, Refusal


@dataclass(frozen=True)
class Bad:
    name: str
    text: bytes
    says: str


DEEP = 100_000
BAD = (
    Bad("nothing but blanks", b"  \n", "cut off at line 2, column 1"),
    Bad("cut off", b'{"prompt": "a boat', "cut off at line 1, column 19"),
    Bad("a trailing comma", b'{"duration": 6,}', "trailing comma in object at line 1, column 16"),
    Bad("position", b'{\n  "prompt": "a",\n  duration: 6}', "at line 3, column 3"),
    Bad("something behind", b"{} {}", "trailing characters at line 1"),
    Bad("single quotes", b"{'prompt': 'a'}", "at line 1, column 2"),
    Bad("NaN", b'{"duration": NaN}', "invalid character at line 1, column 14"),
    Bad("Infinity", b'{"duration": -Infinity}', "invalid"),
    Bad("a number of 5000 digits", b'{"duration": ' + b"1" * 5000 + b"}", "out of range"),
    Bad("1e400", b'{"duration": 1e400}', "out of range"),
    Bad("lists without end", b"[" * DEEP, f"deeper than {DEPTH_MAX}"),
    Bad("objects without end", b'{"a":' * DEEP, f"deeper than {DEPTH_MAX}"),
    Bad("deep and closed", b"[" * DEEP + b"]" * DEEP, f"deeper than {DEPTH_MAX}"),
    Bad("just too deep", b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "deeper than"),
    Bad("just too deep inside", b'{"a":' * DEPTH_MAX + b"[]" + b"}" * DEPTH_MAX, "deeper than"),
    Bad("Latin-1", '{"prompt": "é"}'.encode("latin-1"), "not UTF-8 at line 1, column 13"),
    Bad("UTF-16", '{"prompt": "a"}'.encode("utf-16"), "not valid JSON"),
    Bad("a surrogate in UTF-8", b'{"prompt": "\xed\xa0\x80"}', "not UTF-8"),
    Bad("half a surrogate pair", b'{"prompt": "\\ud83d"}', "half of a surrogate pair"),
    Bad("the other half", b'{"prompt": "\\ude00 a"}', "not valid JSON"),
    Bad("a raw line break", b'{"prompt": "a\nb"}', "invalid character"),
    Bad("twice", b'{"duration":5,"duration":10}', "gives `duration` twice"),
    Bad("twice, with the same value", b'{"a":1,"b":2,"a":1}', "gives `a` twice"),
    Bad("twice, inside", b'{"extra_body": {"a": 1, "a": 2}}', "gives `a` twice"),
    Bad("twice, in a list", b'{"images": [{"url": "x", "url": "y"}]}', "gives `url` twice"),
    Bad("twice, blanks before colons", b'{"a" : 1, "b" :2, "a":3}', "gives `a` twice"),
    Bad("twice, one hidden by a blank", b'{"a":1,"a":2,"b" :3}', "gives `a` twice"),
    Bad("twice, one escaped", b'{"a":1,"\\u0061":2}', "gives `a` twice"),
    Bad(
        "multipart", b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n', "multipart/form-data"
    ),
)


@pytest.mark.parametrize("row", BAD, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_what_is_not_json(row: Bad, kind: type[bytes | bytearray]) -> None:
    with pytest.raises(Refusal) as refused:
        decode_json(kind(row.text))
    assert refused.value.code is Code.INVALID_JSON
    assert refused.value.param is None
    assert row.says in refused.value.message
    assert refused.value.message.startswith("The request body ")
    assert len(refused.value.message) < 300


def test_a_field_that_holds_json_text_is_named() -> None:
    with pytest.raises(Refusal, match="`metadata` is cut off") as refused:
        decode_json(b'{"a"', "metadata")
    assert refused.value.param == "metadata"


GOOD: tuple[tuple[bytes, Any], ...] = (
    (b"{}", {}),
    (b"[]", []),
    (b"null", None),
    (b' {"a" : 1 , "b":[1,2.5,true,null]} ', {"a": 1, "b": [1, 2.5, True, None]}),
    (b'\xef\xbb\xbf{"a":1}', {"a": 1}),  # a byte order mark, as Windows writes it
    (b'{"a":"\\ud83d\\ude00 \xf0\x9f\x98\x80"}', {"a": "😀 😀"}),
    (b'{"a":"\\":\\":"}', {"a": '":":'}),  # looks like more names than there are
    (b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}] * 2}),
    (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, None),
    (b'{"a": 1000000000000000000000000000000}', {"a": 10**30}),
)


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_what_is_json(text: bytes, value: Any) -> None:
    assert decode_json(text) == (json.loads(text) if value is None else value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_VALUES, st.booleans(), st.booleans())
@example(value={'a":': '":'}, spaced=False, escaped=False)
def test_whatever_is_written_is_read(value: Any, spaced: bool, escaped: bool) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    text = json.dumps(value, ensure_ascii=escaped, separators=separators)
    assert decode_json(text.encode()) == value


@given(
    st.binary(max_size=60) | st.text('{}[]":,\\ud8019eE.-nultrfas ', max_size=40).map(str.encode)
)
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        decode_json(text)
    except Refusal as refusal:
        assert refusal.code is Code.INVALID_JSON  # noqa: PT017 # either way out is right
