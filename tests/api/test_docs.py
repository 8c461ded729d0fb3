"""`/docs` is whole, says everything, and asks nobody else for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

import pytest

from reelgate.api import html
from reelgate.api.describe import HEADERS, Tag
from reelgate.api.docs_page import page
from reelgate.api.field_docs import Known
from reelgate.api.fields import ROWS
from reelgate.api.openapi import openapi
from reelgate.api.routes import ROUTES
from reelgate.catalog import MODELS
from reelgate.domain.errors import Code, TaskError
from reelgate.domain.model import Operation
from reelgate.domain.money import usd
from tests.support.live import Live

SPEC = MODELS["grok-imagine"]
VOID = {"meta"}
ELEMENTS = {
    "a", "article", "body", "code", "details", "div", "h1", "h2", "h3", "h4", "head", "html", "li",
    "main", "meta", "nav", "ol", "p", "pre", "section", "small", "span", "strong", "style",
    "summary", "table", "tbody", "td", "th", "thead", "title", "tr", "ul",
}  # fmt: skip


@dataclass
class Seen(HTMLParser):
    """A page as a browser reads it, strictly."""

    elements: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    text: str = ""
    pieces: set[str] = field(default_factory=set)
    style: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data
            self.pieces.add(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def read(text: str) -> Seen:
    seen = Seen()
    seen.feed(text)
    seen.close()
    assert seen.open == []
    return seen


@pytest.fixture(scope="module")
def seen() -> Seen:
    return read(page(openapi(ROUTES, Known(MODELS, allow_http=False)), "p {}"))


def test_it_is_well_made(seen: Seen) -> None:
    assert set(seen.elements) <= ELEMENTS
    assert seen.elements["main"] == seen.elements["h1"] == seen.elements["title"] == 1
    ids = seen.values("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    steps = zip(seen.headings, seen.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert ("html", "lang", "en") in seen.attributes


def test_every_link_leads_somewhere_here(seen: Seen) -> None:
    ids = set(seen.values("id"))
    for target in seen.values("href"):
        assert target == "openapi.json" or target.removeprefix("#") in ids, target
    links = seen.values("href")
    assert all(f"#{name}" in links for name in ids if re.match("(get|post|delete|patch)_", name))


def test_it_asks_nobody_for_anything(seen: Seen) -> None:
    loading = {"src", "srcset", "action", "data", "poster", "background", "style", "http-equiv"}
    found = [name for _, name, _ in seen.attributes if name in loading or name.startswith("on")]
    assert found == []


def test_what_scrolls_can_be_reached_and_is_named(seen: Seen) -> None:
    regions = [value for _, name, value in seen.attributes if (name, value) == ("role", "region")]
    assert len(regions) == seen.elements["table"] + seen.elements["pre"]
    assert len(regions) == seen.values("tabindex").count("0")
    labels = seen.values("aria-label")
    assert len(labels) == len(regions) + 1  # and the contents
    assert all(labels)
    assert seen.elements["th"] == seen.values("scope").count("col")


def test_it_says_everything(seen: Seen) -> None:
    by_ratio = [ratios for tiers in SPEC.pixel_sizes.values() for ratios in tiers.values()]
    sizes = [size for ratios in by_ratio for size in ratios]
    words = [
        *(route.path for route in ROUTES),
        *ROWS,
        *(code.value for code in (*Code, *TaskError)),
        *(operation.value for operation in Operation),
        *HEADERS,
        *(tag.value for tag in Tag),
        *SPEC.prices_micro,
    ]
    assert [word for word in words if word not in seen.pieces] == []
    assert [usd(p) for p in SPEC.prices_micro.values() if usd(p) not in seen.text] == []
    assert [size for size in sizes if size not in seen.text] == []


def test_what_an_operator_writes_is_only_text() -> None:
    evil = replace(SPEC, title='<script>alert("1")</script>', owned_by="&amp;")
    shown = read(page(openapi(ROUTES, Known({SPEC.id: evil}, allow_http=False)), ""))
    assert "script" not in shown.elements
    assert evil.title in shown.text


def test_text_is_escaped_and_markup_is_not() -> None:
    assert html.el("p", "a < b & c") == "<p>a &lt; b &amp; c</p>"
    assert html.el("p", html.el("code", "<")) == "<p><code>&lt;</code></p>"
    assert html.el("a", "x", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert html.el("p", ["a", "<"], "b", class_="c", id=None) == '<p class="c">a&lt;b</p>'


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("Plain `<code>` & more.", "<p>Plain <code>&lt;code&gt;</code> &amp; more.</p>"),
        ("Over\ntwo lines", "<p>Over two lines</p>"),
        ("## A `b`\n\nc", '<h3 id="a-b">A `b`</h3><p>c</p>'),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("a:\n- b\n- c", "<p>a:</p><ul><li>b</li><li>c</li></ul>"),
    ],
)
def test_markdown(text: str, markup: str) -> None:
    assert html.markdown(text, level=3) == markup


def test_json_in_colours() -> None:
    value: Any = {"a": 'x": <1>', "n": [1, -2.5, True, None]}
    shown = html.json_block(value, label="It")
    assert read(shown).text == json.dumps(value, indent=2)
    assert '<span class="key">"a"</span>: <span class="text">"x\\": &lt;1&gt;"</span>' in shown
    assert '<span class="number">-2.5</span>' in shown
    assert '<span class="word">true</span>' in shown


def test_the_browser_may_use_this_style_and_nothing_else(live: Live) -> None:
    answer = live.client().get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    style = read(answer.text).style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    assert not re.search(r"url\(|@import|expression", style)
    etag = answer.headers["etag"]
    assert live.client().get("/docs", headers={"if-none-match": etag}).status_code == 304
