"""JSON Schema in words and links, for the reference page."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reelgate.api.describe import JSON
from reelgate.api.html import Html, el, join

Node = Mapping[str, Any]

_ENUM_SHOWN_MAX = 20
_NULL = {"type": "null"}
_WORDS = {"integer": "integer", "number": "number", "boolean": "true or false"}


class Shapes:
    """Shows the schemas of one document."""

    def __init__(self, document: Node) -> None:
        self._document = document

    def resolved(self, node: Node) -> Node:
        """What a reference stands for."""
        while "$ref" in node:
            found: Any = self._document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            node = found
        return node

    def link(self, schema: Node) -> Html:
        """A type's name, leading to what it is."""
        name = schema["$ref"].rpartition("/")[2]
        return el("a", name, href=f"#type-{name}")

    def kind(self, schema: Node) -> Html:
        """What a value may be."""
        if "$ref" in schema:
            return self.link(schema)
        if "title" in schema:
            return join(schema["title"])
        if "enum" in schema:
            return _enum(schema["enum"])
        if "anyOf" in schema:
            kinds = dict.fromkeys(self.kind(kind) for kind in schema["anyOf"])
            return join(between(" or ", kinds))
        match schema.get("type"):
            case "array":
                count = _bounds(schema.get("minItems"), schema.get("maxItems"))
                return join("list of ", f"{count} " if count else "", self.kind(schema["items"]))
            case "object":
                return self._object(schema)
            case "string":
                return join(_string(schema))
            case "null":
                return el("code", "null")
            case None:
                return join("anything")
            case kind:
                bounds = _bounds(schema.get("minimum"), schema.get("maximum"))
                return join(_WORDS[kind], f" {bounds}" if bounds else "")

    def body(self, media: str, content: Node) -> Html:
        """What an answer carries: a type, or a kind of file."""
        schema = content["schema"]
        if media != JSON:
            return el("code", media)
        kinds = [self.resolved(kind) for kind in schema.get("anyOf", ())] or [schema]
        return join(between(" or ", [self._one_body(kind) for kind in kinds]))

    def samples(self, response: Node) -> list[tuple[str, Any]]:
        """The samples of an answer by name."""
        examples = response.get("content", {}).get(JSON, {}).get("examples", {})
        return [(name, example["value"]) for name, example in examples.items()]

    def _one_body(self, schema: Node) -> Html:
        """An error answer names its envelope and narrows the codes: the name is enough."""
        return self.kind(schema["allOf"][0] if "allOf" in schema else schema)

    def _object(self, schema: Node) -> Html:
        if isinstance(values := schema.get("additionalProperties"), Mapping):
            return join("object of ", self.kind(values))
        if names := schema.get("properties"):
            return join("object ", el("code", f"{{{', '.join(names)}}}"))
        return join("object")


def without_null(schema: Node) -> Node:
    """A body's field as people send it: null is the same as leaving it out."""
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [kind for kind in schema["anyOf"] if kind != _NULL]}
    return schema


def between(separator: str, pieces: Iterable[str]) -> Iterator[str]:
    """The pieces with a separator between them."""
    for n, piece in enumerate(pieces):
        if n:
            yield separator
        yield piece


def _enum(values: list[Any]) -> Html:
    shown = [el("code", v if isinstance(v, str) else json.dumps(v)) for v in values]
    more = [f"and {len(shown) - _ENUM_SHOWN_MAX} more"] if len(shown) > _ENUM_SHOWN_MAX else []
    return join(between(" ", [*shown[:_ENUM_SHOWN_MAX], *more]))


def _string(schema: Node) -> str:
    if schema.get("format") == "binary":
        return "file"
    if schema.get("format") == "date":
        return "date"
    bounds = _bounds(schema.get("minLength"), schema.get("maxLength"))
    return f"string, {bounds} characters" if bounds else "string"


def _bounds(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return f"from {low}" if low is not None else f"up to {high}" if high is not None else ""
    return str(low) if low == high else f"{low}–{high}"
