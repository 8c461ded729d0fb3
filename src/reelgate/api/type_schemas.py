"""The types of answers and bodies as JSON Schema components, with what every field means."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from reelgate.api.asgi import Route
from reelgate.api.describe import Fields, Schema
from reelgate.api.errors import ErrorEnvelope
from reelgate.api.fields import Preset
from reelgate.api.vocabulary import WORDS

REFERENCE = "#/components/schemas/{name}"
_GENERIC = re.compile(r"(?P<of>[A-Z]\w*?)_(?P<type>\w+)_\Z")


class TypeSchemas:
    """The schema of every type that a route answers with or reads."""

    def __init__(self, routes: Iterable[Route]) -> None:
        routes = list(routes)
        read = [
            route.doc.body.of
            for route in routes
            if route.doc.body is not None
            and not isinstance(route.doc.body.of, Preset)
            and route.doc.body.of is not Fields
        ]
        told = [
            reply.type
            for route in routes
            for reply in route.doc.replies
            if reply.type not in {None, Fields}
        ]
        self._references: dict[Any, str] = {}
        self.components = {
            **self._schemas([*told, ErrorEnvelope], told=True),
            **self._schemas(read, told=False),
        }

    def reference(self, of: Any) -> Schema:
        """What stands for a type wherever it is used."""
        return {"type": "object"} if of is Fields else {"$ref": self._references[of]}

    def _schemas(self, types: list[Any], *, told: bool) -> dict[str, Schema]:
        """Every field of an answer is always there; of a body only those without a default."""
        types = list(dict.fromkeys(types))
        references, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
        for of, reference in zip(types, references, strict=True):
            self._references[of] = _renamed(reference["$ref"])
        return {
            _plain(name): _worded(_plain(name), _renamed(schema), told)
            for name, schema in components.items()
        }


def _plain(name: str) -> str:
    """`AccountCardPage` for what msgspec calls `Page_AccountCard_`."""
    generic = _GENERIC.match(name)
    return f"{generic['type']}{generic['of']}" if generic else name


def _renamed(schema: Any) -> Any:
    """The same with every reference under its plain name."""
    match schema:
        case str() if schema.startswith(REFERENCE.format(name="")):
            return REFERENCE.format(name=_plain(schema.rpartition("/")[2]))
        case dict():
            return {key: _renamed(value) for key, value in schema.items()}
        case list():
            return [_renamed(value) for value in schema]
        case _:
            return schema


def _worded(name: str, schema: Schema, told: bool) -> Schema:
    properties = schema["properties"]
    required = list(properties) if told else schema.get("required", [])
    return {
        **schema,
        "properties": {
            field: _refined(_word(name, field), value) for field, value in properties.items()
        },
        "required": required,
    }


def _word(type_name: str, field: str) -> Mapping[str, Any]:
    """What is said of a field: its description, and what is known of its value."""
    word = WORDS.get(f"{type_name}.{field}") or WORDS.get(field)
    if word is None:
        raise LookupError(f"{type_name}.{field} is not in the vocabulary (api/vocabulary.py)")
    return {"description": word.about, **word.schema}


def _refined(word: Mapping[str, Any], schema: Schema) -> Schema:
    """A field's schema with its word; what is known of the value goes to the part with it."""
    about, known = word["description"], {k: v for k, v in word.items() if k != "description"}
    if "anyOf" not in schema:
        return {"description": about, **known, **schema}
    kinds = [kind if kind == {"type": "null"} else {**known, **kind} for kind in schema["anyOf"]]
    return {"description": about, **schema, "anyOf": kinds}
