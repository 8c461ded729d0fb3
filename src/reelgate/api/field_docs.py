"""What each field of a create request means and may be, as JSON Schema.

The names are those of `fields.ROWS`; limits, sizes and ratios are those of the models. What is
written here is only what a field means, and which kind of JSON it is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from reelgate.api.describe import Schema
from reelgate.api.media_fields import URL_CHARS_MAX
from reelgate.domain.model import ModelSpec, Operation, OperationSpec, Span
from reelgate.domain.rules import (
    METADATA_KEY_CHARS_MAX,
    METADATA_KEY_RESERVED,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_CHARS_MAX,
    USER_CHARS_MAX,
)

# No text may have a NUL; a prompt needs something else than blanks too.
_NO_NUL = r"^[^\u0000]*$"
_PROMPT = r"^[^\u0000]*[^\u0000\s][^\u0000]*$"
_LINK = r"^[hH][tT][tT][pP][sS]{scheme}://[^/?#\u0000-\u0020\u007f][^\u0000-\u0020\u007f]*$"
_DATA_URI = r"^[dD][aA][tT][aA]:[^,]{0,240};[bB][aA][sS][eE]64,[A-Za-z0-9+/]+={0,2}$"
_DATA: Schema = {"title": "data: URI", "type": "string", "pattern": _DATA_URI}
_TASK_ID = "^task_[2-7a-z]{32}$"


@dataclass(frozen=True, slots=True)
class Known:
    """What is sold here: the limits of all models together."""

    models: Mapping[str, ModelSpec]
    allow_http: bool

    def operations(self) -> Iterable[tuple[ModelSpec, Operation, OperationSpec]]:
        for spec in self.models.values():
            for operation, row in spec.operations.items():
                yield spec, operation, row

    def widest(self, span: Callable[[OperationSpec], Span | None]) -> Span:
        """The span that holds those of all operations."""
        found = [given for _, _, row in self.operations() if (given := span(row)) is not None]
        return Span(min(s.low for s in found), max(s.high for s in found))

    def sizes(self) -> list[str]:
        specs = self.models.values()
        tiers = [tier for spec in specs for tier in spec.tiers]
        pixels = [
            size
            for spec in specs
            for ratios in spec.pixel_sizes.values()
            for sizes in ratios.values()
            for size in sizes
        ]
        return list(dict.fromkeys([*tiers, *pixels]))

    def ratios(self) -> list[str]:
        return list(dict.fromkeys(r for _, _, row in self.operations() for r in row.aspect_ratios))


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """What a field means, and what it may be in JSON; `upload`: a file may stand for it."""

    about: str
    json: Callable[[Known], Schema]
    upload: bool = False


def seconds(span: Span) -> Schema:
    """A whole number of seconds, or its digits as text."""
    allowed = "|".join(str(n) for n in range(span.low, span.high + 1))
    return {
        "anyOf": [
            {"type": "integer", "minimum": span.low, "maximum": span.high},
            {"title": "its digits", "type": "string", "pattern": f"^0{{0,7}}({allowed})$"},
        ]
    }


def _link(known: Known) -> Schema:
    pattern = _LINK.format(scheme="?" if known.allow_http else "")
    return {"title": "link", "type": "string", "pattern": pattern, "maxLength": URL_CHARS_MAX}


def _picture(known: Known, *keys: str) -> Schema:
    text = {"anyOf": [_link(known), _DATA]}
    objects = [closed({key: text}, key) for key in keys]
    return {"anyOf": [*text["anyOf"], *objects]}


def _clip(known: Known) -> Schema:
    text = {"anyOf": [_link(known), _DATA]}
    task = {"type": "string", "pattern": _TASK_ID}
    return {"anyOf": [*text["anyOf"], closed({"url": text}, "url"), closed({"id": task}, "id")]}


def closed(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(entry: Schema, span: Span) -> Schema:
    return {"type": "array", "items": entry, "minItems": span.low, "maxItems": span.high}


def _images(known: Known) -> Schema:
    return _list(_picture(known, "url"), known.widest(lambda row: row.images))


def _prompt(known: Known) -> Schema:
    chars_max = max(spec.prompt_chars_max for spec in known.models.values())
    return {"type": "string", "pattern": _PROMPT, "minLength": 1, "maxLength": chars_max}


_METADATA: Schema = {
    "type": "object",
    "maxProperties": METADATA_PAIRS_MAX,
    "propertyNames": {
        "maxLength": METADATA_KEY_CHARS_MAX,
        "pattern": _NO_NUL,
        "not": {"const": METADATA_KEY_RESERVED},
    },
    "additionalProperties": {
        "type": "string",
        "maxLength": METADATA_VALUE_CHARS_MAX,
        "pattern": _NO_NUL,
    },
}

# By the name of the row. A test fails for a row that nobody described.
FIELDS: Mapping[str, FieldDoc] = {
    "model": FieldDoc(
        "Which model; see `GET /v1/models`.", lambda known: {"enum": list(known.models)}
    ),
    "prompt": FieldDoc("What the video should show; length without blanks around it.", _prompt),
    "image": FieldDoc(
        "One picture to animate, as a link, a `data:` URI with base64, or `{url}`.",
        lambda known: _picture(known, "url"),
        upload=True,
    ),
    "image_url": FieldDoc(
        "Another name of `image`.", lambda known: _picture(known, "url"), upload=True
    ),
    "input_reference": FieldDoc(
        "OpenAI's name of `image`; as an object `{image_url}`.",
        lambda known: _picture(known, "image_url", "url"),
        upload=True,
    ),
    "images": FieldDoc(
        "Pictures to refer to. In the prompt, `@Image1` is the first.", _images, upload=True
    ),
    "image_urls": FieldDoc("Another name of `images`.", _images, upload=True),
    "reference_images": FieldDoc("Another name of `images`.", _images, upload=True),
    "video": FieldDoc(
        "The clip to edit or extend: a link, a `data:` URI, `{url}`, or `{id}` of a finished task "
        "of yours.",
        _clip,
        upload=True,
    ),
    "videos": FieldDoc(
        "Another name of `video`: a list of exactly one.",
        lambda known: _list(_clip(known), Span(1, 1)),
        upload=True,
    ),
    "size": FieldDoc(
        "How large: a tier, or a pixel size, which sets the aspect ratio too.",
        lambda known: {"enum": known.sizes()},
    ),
    "resolution": FieldDoc("Another name of `size`.", lambda known: {"enum": known.sizes()}),
    "aspect_ratio": FieldDoc(
        "The shape; `auto` follows the picture.", lambda known: {"enum": known.ratios()}
    ),
    "duration": FieldDoc(
        "Whole seconds to make; for an extension, those added. Exactly one of `duration` and "
        "`seconds`.",
        lambda known: seconds(known.widest(lambda row: row.seconds)),
    ),
    "seconds": FieldDoc(
        "OpenAI's name of `duration`.",
        lambda known: seconds(known.widest(lambda row: row.seconds)),
    ),
    "operation": FieldDoc(
        "What to do; read from the inputs when it is left out.",
        lambda known: {"enum": list(dict.fromkeys(op.value for _, op, _ in known.operations()))},
    ),
    "input_video_seconds": FieldDoc(
        "How long the source is, for the highest cost held at submit; the longest allowed when "
        "left out.",
        lambda known: seconds(known.widest(lambda row: row.declared_source_seconds)),
    ),
    "user": FieldDoc(
        "Your name for whoever this is for; kept, never interpreted.",
        lambda _: {"type": "string", "maxLength": USER_CHARS_MAX, "pattern": _NO_NUL},
    ),
    "metadata": FieldDoc(
        "Pairs of text of your own; kept, and given back with the task.", lambda _: _METADATA
    ),
}
