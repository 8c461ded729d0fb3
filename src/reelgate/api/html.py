"""Markup for the reference page: elements, a little Markdown, coloured JSON. Text is escaped."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

_CODE = re.compile(r"`([^`]+)`")
_JSON_PARTS = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=:)|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)"
)
_ITEM = re.compile(r"(?:- |\d+\. )")


class Html(str):
    """Markup: goes into a page as it is. Any other text is escaped on its way in."""

    __slots__ = ()


def el(name: str, *inside: str | Iterable[str], **attributes: str | None) -> Html:
    """An element; `class_` and `for_` are written without the underscore."""
    given = "".join(
        f' {key.rstrip("_")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(*inside)}</{name}>")


def join(*inside: str | Iterable[str]) -> Html:
    """Several pieces as one."""
    return Html("".join(_pieces(inside)))


def _pieces(inside: Iterable[str | Iterable[str]]) -> Iterator[str]:
    for piece in inside:
        if isinstance(piece, Html):
            yield piece
        elif isinstance(piece, str):
            yield html.escape(piece, quote=False)
        else:
            yield from _pieces(piece)


def inline(text: str) -> Html:
    """One line of Markdown: `code`, and nothing else."""
    parts = _CODE.split(text)
    return join(el("code", part) if n % 2 else part for n, part in enumerate(parts))


def markdown(text: str, *, level: int) -> Html:
    """Paragraphs, `##` headings (as this level), and lists."""
    return join(_block(block, level) for block in text.strip().split("\n\n"))


def _block(block: str, level: int) -> Html:
    if block.startswith("## "):
        title = block.removeprefix("## ")
        return el(f"h{level}", title, id=slug(title))
    lines = block.splitlines()
    return join(
        _list(list(group)) if is_item else el("p", inline(" ".join(group)))
        for is_item, group in groupby(lines, lambda line: bool(_ITEM.match(line)))
    )


def _list(lines: list[str]) -> Html:
    name = "ul" if lines[0].startswith("- ") else "ol"
    return el(name, [el("li", inline(line.partition(" ")[2])) for line in lines])


def table(heads: tuple[str, ...], rows: Iterable[Iterable[str]], *, label: str) -> Html:
    """A table that scrolls by itself where it is too wide, and can be reached by keyboard."""
    body = [el("tr", [el("td", cell) for cell in row]) for row in rows]
    head = el("thead", el("tr", [el("th", head, scope="col") for head in heads]))
    return el(
        "div",
        el("table", head, el("tbody", body)),
        class_="scroll",
        tabindex="0",
        role="region",
        **{"aria-label": label},
    )


def json_block(value: Any, *, label: str) -> Html:
    """A value as it would be sent, in colours."""
    return code_block(json_html(json.dumps(value, indent=2, ensure_ascii=False)), label=label)


def code_block(text: str, *, label: str) -> Html:
    """Lines to copy."""
    return el("pre", el("code", text), tabindex="0", role="region", **{"aria-label": label})


def json_html(text: str) -> Html:
    """JSON text in colours."""
    out, at = [], 0
    for part in _JSON_PARTS.finditer(text):
        out += [text[at : part.start()], el("span", part[0], class_=part.lastgroup)]
        at = part.end()
    return join(out, text[at:])


def slug(text: str) -> str:
    """A word for the address bar."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
