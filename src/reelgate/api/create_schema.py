"""The bodies of the create routes as JSON Schema: as JSON, and as a form.

Put together from what each field may be (`field_docs.py`), the rows that read them
(`fields.ROWS`) and what each operation of the catalogue takes.
"""

from typing import Any

from reelgate.api.describe import Schema
from reelgate.api.field_docs import FIELDS, Known, closed, seconds
from reelgate.api.fields import EXTRA_BODY, ROWS, Preset, Row
from reelgate.domain.model import Inputs, ModelSpec, Operation, OperationSpec, Span

_NULL: Schema = {"type": "null"}
_FILE: Schema = {"type": "string", "format": "binary"}
_TEXT: Schema = {"type": "string"}
_EXTRA_ABOUT = (
    "For clients that put other fields here. Anything inside means the same as outside of it, and "
    "`operation` and `input_video_seconds` may stand at the top level."
)
_IN_EXTRA_BODY = ("operation", "input_video_seconds")


def json_schema(known: Known, preset: Preset) -> Schema:
    """A create route's body as JSON; null is the same as leaving a field out."""
    required = _required(preset)
    properties = {
        row.name: _described(row.name, FIELDS[row.name].json(known), row.name in required)
        for row in _rows(known, preset)
    }
    inside = closed({name: properties[name] for name in _IN_EXTRA_BODY})
    properties[EXTRA_BODY] = {"description": _EXTRA_ABOUT, "anyOf": [inside, _NULL]}
    operations = [
        _operation(*operation, list(properties), preset) for operation in _operations(known, preset)
    ]
    return {**closed(properties, *required), "oneOf": operations}


def form_schema(known: Known, preset: Preset) -> Schema:
    """The same as a form: everything is text, or a file in a field that takes one.

    Objects come in brackets or as JSON text, lists as a repeated name, with or without brackets.
    """
    properties: dict[str, Any] = {}
    for row in _rows(known, preset):
        properties |= _form_fields(row, known)
    for name in _IN_EXTRA_BODY:
        properties[f"{EXTRA_BODY}[{name}]"] = properties[name]
    properties[EXTRA_BODY] = {"description": f"{_EXTRA_ABOUT} As JSON text.", **_TEXT}
    return {
        **closed(properties, *_required(preset)),
        "patternProperties": {
            r"^metadata\[[^\[\]]+\]$": {"description": "One pair of `metadata`.", **_TEXT}
        },
    }


def _required(preset: Preset) -> list[str]:
    """OpenAI's SDKs send no model to a route with an operation."""
    return ["prompt"] if preset.operation else ["model", "prompt"]


def _rows(known: Known, preset: Preset) -> list[Row]:
    """The fields that a body of the route may have: those that one of its operations takes."""
    taken = {
        field
        for field in {row.field for row in ROWS.values()}
        for _, _, operation in _operations(known, preset)
        if _takes(operation, field)
    }
    if preset.source_task_id is not None:  # the path names the source
        taken -= {Inputs.VIDEO.value}
    return [row for row in ROWS.values() if row.field in taken]


def _operations(known: Known, preset: Preset) -> list[tuple[ModelSpec, Operation, OperationSpec]]:
    return [row for row in known.operations() if preset.operation in {None, row[1]}]


def _takes(row: OperationSpec, field: str) -> bool:
    """Whether an operation takes a field."""
    match field:
        case "seconds":
            return row.seconds is not None
        case "size":
            return row.takes_size
        case "aspect_ratio":
            return bool(row.aspect_ratios)
        case "input_video_seconds":
            return row.declared_source_seconds is not None
        case Inputs.IMAGE.value | Inputs.IMAGES.value | Inputs.VIDEO.value:
            return field == row.inputs.value
        case _:
            return True


def _described(name: str, schema: Schema, required: bool) -> Schema:
    about = FIELDS[name].about
    if required:
        return {"description": about, **schema}
    if "enum" in schema:
        return {"description": about, **schema, "enum": [*schema["enum"], None]}
    kinds = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    return {"description": about, "anyOf": [*kinds, _NULL]}


# ---- one operation ------------------------------------------------------------------------


def _operation(
    spec: ModelSpec, operation: Operation, row: OperationSpec, names: list[str], preset: Preset
) -> Schema:
    """What an operation wants, and refuses, of the fields `names`."""
    stated = {"enum": [operation.value, None]}
    declared = _or_null(row.declared_source_seconds)
    limits: dict[str, Schema] = {
        **{r.name: _NULL for r in ROWS.values() if not _takes(row, r.field)},
        "model": {"enum": [spec.id] if preset.operation is None else [spec.id, None]},
        "operation": stated,
        "input_video_seconds": declared,
        EXTRA_BODY: {"properties": {"operation": stated, "input_video_seconds": declared}},
        **_each("seconds", _or_null(row.seconds)),
        "aspect_ratio": {"enum": [*row.aspect_ratios, None]},
    }
    conditions: list[Schema] = []
    if row.seconds is not None:
        conditions.append({"oneOf": [_given(name) for name in _names("seconds")]})
    if row.inputs is not Inputs.NONE and preset.source_task_id is None:
        conditions.append({"anyOf": [_given(name) for name in _names(row.inputs.value)]})
    if row.inputs is Inputs.IMAGES and row.images is not None:
        limits |= _each(row.inputs.value, _count(row.images))
    return {
        "title": operation.value,
        "properties": {name: limits[name] for name in limits if name in names},
        **({"allOf": conditions} if conditions else {}),
    }


def _names(field: str) -> list[str]:
    return [row.name for row in ROWS.values() if row.field == field]


def _each(field: str, schema: Schema) -> dict[str, Schema]:
    """The same for every name of a field."""
    return dict.fromkeys(_names(field), schema)


def _given(name: str) -> Schema:
    return {"required": [name], "properties": {name: {"not": _NULL}}}


def _or_null(span: Span | None) -> Schema:
    return {"anyOf": [*seconds(span)["anyOf"], _NULL]} if span else _NULL


def _count(span: Span) -> Schema:
    return {"minItems": span.low, "maxItems": span.high}


# ---- forms --------------------------------------------------------------------------------


def _form_fields(row: Row, known: Known) -> dict[str, Schema]:
    """A row by its names in a form: plain, and with the brackets that SDKs write."""
    about, schema = FIELDS[row.name].about, FIELDS[row.name].json(known)
    if not FIELDS[row.name].upload:
        return {row.name: {"description": about, **_as_text(schema)}}
    file_or_text: Schema = {"anyOf": [_FILE, _TEXT]}
    if schema.get("type") == "array":
        many = {"type": "array", "items": file_or_text, "maxItems": schema["maxItems"]}
        return {
            row.name: {"description": f"{about} Or files. Repeated for each.", **many},
            f"{row.name}[]": {"description": f"The same as `{row.name}`.", **many},
        }
    keys = [key for kind in schema["anyOf"] for key in kind.get("properties", ())]
    return {
        row.name: {"description": f"{about} Or a file.", **file_or_text},
        **{
            f"{row.name}[{key}]": {"description": f"`{key}` of `{row.name}`.", **_TEXT}
            for key in keys
        },
    }


def _as_text(schema: Schema) -> Schema:
    """The part of a value's schema that holds for its text."""
    for kind in schema.get("anyOf", [schema]):
        if kind.get("type") == "string" or "enum" in kind:
            return {"type": "string", **kind}
    return _TEXT
