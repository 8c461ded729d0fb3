"""`/docs`: the reference as one page, made from the same object as `/openapi.json`.

No script, no outside host: the page reads without either.
"""

import json
from collections.abc import Mapping
from typing import Any

from reelgate.api.describe import JSON, RATE_HEADERS
from reelgate.api.docs_schema import Node, Shapes, between, without_null
from reelgate.api.html import Html, code_block, el, inline, join, json_block, markdown, slug, table
from reelgate.api.meanings import CODES, TASK_ERRORS, Meaning

_MS_PER_SECOND = 1000
_MIB = 1024 * 1024
_ERROR_STATUS_MIN = 400
# The groups of routes that are unfolded at first.
_GROUPS_OPEN = 4
_METAS = (
    'charset="utf-8"',
    'name="viewport" content="width=device-width, initial-scale=1"',
    'name="color-scheme" content="light dark"',
)
# Every answer has these; the table of answers need not repeat them.
_EVERYWHERE = frozenset({"x-request-id", *RATE_HEADERS})


def page(document: Node, style: str) -> str:
    """The whole page."""
    return f"<!doctype html>\n{_Page(document).html(style)}\n"


class _Page:
    def __init__(self, document: Node) -> None:
        self._document = document
        self._shapes = Shapes(document)
        self._told_types: set[str] = set()
        self._by_tag = {tag["name"]: self._routes_of(tag["name"]) for tag in document["tags"]}

    def _routes_of(self, tag: str) -> list[tuple[str, str, Node]]:
        """(method, path, operation) of a tag; HEAD is told with its GET."""
        return [
            (method, path, operation)
            for path, item in self._document["paths"].items()
            for method, operation in item.items()
            if method != "head" and tag in operation["tags"]
        ]

    def html(self, style: str) -> Html:
        info = self._document["info"]
        head = el(
            "head",
            [Html(f"<meta {meta}>") for meta in _METAS],
            el("title", f"{info['title']} API"),
            el("style", Html(style)),
        )
        main = el(
            "main",
            el("h1", f"{info['title']} API ", el("small", info["version"])),
            markdown(info["description"], level=2),
            self._models(),
            [self._tag(tag) for tag in self._document["tags"]],
            _error_codes(),
            self._types(),
            id="main",
        )
        body = el(
            "body", el("a", "Skip to the text", href="#main", class_="skip"), self._nav(), main
        )
        return el("html", head, body, lang="en")

    # ---- the way around ---------------------------------------------------------------------

    def _nav(self) -> Html:
        info = self._document["info"]
        groups = [
            el(
                "details",
                el("summary", tag),
                el("ul", [el("li", _route_link(*route)) for route in routes]),
                open="" if n < _GROUPS_OPEN else None,
            )
            for n, (tag, routes) in enumerate(self._by_tag.items())
        ]
        tail = [("Error codes", "error-codes"), ("Types", "types")]
        return el(
            "nav",
            el("a", info["title"], href="#main", class_="brand"),
            el("a", "What can be made", href="#what-can-be-made"),
            groups,
            [el("a", text, href=f"#{anchor}") for text, anchor in tail],
            el("a", "openapi.json", href="openapi.json"),
            **{"aria-label": "Contents"},
        )

    # ---- what can be made -------------------------------------------------------------------

    def _models(self) -> Html:
        """Limits and prices, as `GET /v1/models` answers."""
        models = _sample(self._document["paths"]["/v1/models"]["get"], "200")["data"]
        return el(
            "section",
            el("h2", "What can be made", id="what-can-be-made"),
            [self._model(model) for model in models],
        )

    def _model(self, model: Node) -> Html:
        heads = ("Operation", "Input", "Seconds", "Source", "Shape", "Price in USD")
        rows = [
            (
                el("code", row["operation"]),
                _input(row),
                _span(row["duration"]) or "as its source",
                _source(row),
                ", ".join(row["aspect_ratios"]) or "as its source",
                join(_price(price) for price in row["prices"]),
            )
            for row in model["operations"]
        ]
        limits = model["limits"]
        facts = [
            f"Prompts have at most {limits['prompt_chars_max']} characters.",
            f"Pictures: {_media(limits['image'])}.",
            f"Clips: {_media(limits['video'])}.",
        ]
        tiers = list(model["pixel_sizes"])
        ratios = dict.fromkeys(ratio for tier in tiers for ratio in model["pixel_sizes"][tier])
        sizes = [
            (ratio, *(" or ".join(model["pixel_sizes"][tier].get(ratio, ())) for tier in tiers))
            for ratio in ratios
        ]
        return join(
            el("h3", model["title"], " ", el("code", model["id"])),
            table(heads, rows, label=f"Operations of {model['id']}"),
            el("ul", [el("li", fact) for fact in facts]),
            table(("Shape", *tiers), sizes, label=f"Pixel sizes of {model['id']}"),
            el("h4", "A whole body for each operation"),
            [
                el(
                    "details",
                    el("summary", row["operation"]),
                    json_block(row["example"], label="Body"),
                )
                for row in model["operations"]
            ],
        )

    # ---- routes -----------------------------------------------------------------------------

    def _tag(self, tag: Node) -> Html:
        return el(
            "section",
            el("h2", tag["name"], id=slug(tag["name"])),
            el("p", inline(tag["description"])),
            [self._route(*route) for route in self._by_tag[tag["name"]]],
        )

    def _route(self, method: str, path: str, operation: Node) -> Html:
        return el(
            "article",
            el("h3", _badge(method), " ", el("code", path)),
            el("p", el("strong", f"{operation['summary']}. "), self._opened_by(operation)),
            el("p", inline(operation["description"])) if "description" in operation else "",
            self._params(operation),
            self._body(operation, path),
            self._answers(operation),
            id=operation["operationId"],
        )

    def _opened_by(self, operation: Node) -> Html:
        ways = {"apiKey": "API key", "signedLink": "signed link", "adminKey": "admin key"}
        names = [ways[name] for way in operation["security"] for name in way]
        return el("span", " or ".join(names) or "public", class_="access")

    def _params(self, operation: Node) -> Html:
        given = [param for param in operation.get("parameters", ()) if param["in"] != "path"]
        if not given:
            return Html()
        rows = [
            (
                el("code", param["name"]),
                param["in"],
                self._shapes.kind(param["schema"]),
                inline(param["description"]),
            )
            for param in given
        ]
        return join(
            el("h4", "Parameters"),
            table(("Name", "In", "Value", "Meaning"), rows, label="Parameters"),
        )

    def _body(self, operation: Node, path: str) -> Html:
        if "requestBody" not in operation:
            return Html()
        content = operation["requestBody"]["content"]
        schema, examples = content[JSON]["schema"], content[JSON].get("examples", {})
        takes = join(*between(", ", [el("code", media) for media in content]))
        shown = self._shapes.link(schema) if "$ref" in schema else "any object"
        return join(
            el("h4", "Body"),
            el("p", shown, " as ", takes, "."),
            self._fields_once(schema),
            [
                code_block(_curl(path, example["value"]), label="Example")
                for example in list(examples.values())[:1]
            ],
        )

    def _fields_once(self, schema: Node) -> Html:
        """The fields of a body, where it is read first; elsewhere its name leads there."""
        name = schema.get("$ref", "").rpartition("/")[2]
        if not name or name in self._told_types:
            return Html()
        self._told_types.add(name)
        return el("div", self._fields(name, self._shapes.resolved(schema)), id=f"type-{name}")

    def _answers(self, operation: Node) -> Html:
        told = {
            status: self._shapes.resolved(response)
            for status, response in operation["responses"].items()
        }
        good = {status: told[status] for status in told if int(status) < _ERROR_STATUS_MIN}
        bad = {status: told[status] for status in told if status not in good}
        samples = [
            sample for response in good.values() for sample in self._shapes.samples(response)
        ]
        return join(
            el("h4", "Answers"),
            self._answer_table("Answers", good) if good else "",
            [
                el("details", el("summary", "Sample: ", name), json_block(value, label="Sample"))
                for name, value in samples
            ],
            el(
                "details",
                el("summary", "Refusals: ", between(" ", [el("code", status) for status in bad])),
                self._answer_table("Refusals", bad),
            ),
        )

    def _answer_table(self, label: str, responses: Mapping[str, Node]) -> Html:
        rows = [
            (
                el("code", status),
                markdown(response["description"], level=5),
                self._carried(response),
            )
            for status, response in responses.items()
        ]
        return table(("Status", "Means", "Carries"), rows, label=label)

    def _carried(self, response: Node) -> Html:
        bodies = [
            self._shapes.body(media, content)
            for media, content in response.get("content", {}).items()
        ]
        names = [name for name in response["headers"] if name not in _EVERYWHERE]
        return join(
            join(*between(", ", bodies)) or "no body",
            el("p", *between(" ", [el("code", name) for name in names])) if names else "",
        )

    # ---- types ------------------------------------------------------------------------------

    def _types(self) -> Html:
        schemas = self._document["components"]["schemas"]
        return el(
            "section",
            el("h2", "Types", id="types"),
            [
                self._type(name, schema)
                for name, schema in schemas.items()
                if name not in self._told_types
            ],
        )

    def _type(self, name: str, schema: Node) -> Html:
        about = schema.get("description")
        return el(
            "article",
            el("h3", name),
            el("p", inline(" ".join(about.split()))) if about else "",
            self._fields(name, schema),
            id=f"type-{name}",
        )

    def _fields(self, name: str, schema: Node) -> Html:
        is_body = schema.get("additionalProperties") is False
        required = schema.get("required", ()) if is_body else ()
        rows = [
            (
                join(el("code", field), " required" if field in required else ""),
                self._shapes.kind(without_null(value) if is_body else value),
                inline(value.get("description", "")),
            )
            for field, value in schema["properties"].items()
        ]
        return table(("Field", "Value", "Meaning"), rows, label=f"Fields of {name}")


def _error_codes() -> Html:
    return el(
        "section",
        el("h2", "Error codes", id="error-codes"),
        _meanings("Of a request", CODES),
        el(
            "p",
            "A task that was accepted and ends without a video says why in its ",
            el("code", "error"),
            ".",
        ),
        _meanings("Of a task", TASK_ERRORS),
    )


def _meanings(title: str, codes: Mapping[Any, Meaning]) -> Html:
    rows = [
        (el("code", code.value), inline(meaning.what), inline(meaning.remedy))
        for code, meaning in codes.items()
    ]
    return join(el("h3", title), table(("Code", "Means", "What helps"), rows, label=title))


def _badge(method: str) -> Html:
    return el("span", method.upper(), class_=f"method {method}")


def _route_link(method: str, path: str, operation: Node) -> Html:
    target = f"#{operation['operationId']}"
    return el("a", _badge(method), " ", path.removeprefix("/v1"), href=target)


def _curl(path: str, body: Any) -> str:
    text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl $REELGATE_URL{path.replace('{task_id}', '$TASK_ID')} \\\n"
        '  -H "Authorization: Bearer $REELGATE_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{text}'"
    )


# ---- a model in words -----------------------------------------------------------------------


def _input(row: Node) -> str:
    count = _span(row["images"])
    if row["input"] == "prompt":
        return "none"
    return f"{row['input']} ({count})" if row["images"] and count != "1" else row["input"]


def _span(span: Node | None) -> str:
    if span is None:
        return ""
    return str(span["min"]) if span["min"] == span["max"] else f"{span['min']}–{span['max']}"


def _source(row: Node) -> str:
    span = row["source_ms"]
    return f"{_s(span['min'])}–{_s(span['max'])} s" if span else "–"


def _s(ms: int) -> str:
    whole, rest = divmod(ms, _MS_PER_SECOND)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _price(price: Node) -> Html:
    return el("div", price["unit_price"], f" per {price['unit']}: ", el("code", price["item"]))


def _media(limits: Node) -> str:
    codecs = f", codecs {', '.join(limits['codecs'])}" if limits["codecs"] else ""
    return f"{', '.join(limits['types'])}, at most {limits['bytes_max'] // _MIB} MiB{codecs}"


def _sample(operation: Node, status: str) -> Node:
    """The one sample of an answer."""
    examples = operation["responses"][status]["content"][JSON]["examples"]
    value: Node = next(iter(examples.values()))["value"]
    return value
