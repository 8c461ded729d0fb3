"""What every field of a create request means: one row per name (contract, sections 2 and 3).

A row says which part of the `Draft` a name stands for and how its value is read. Whether the
values fit each other and the model is for `domain/rules.py`; what comes back is in `wire.py`.
"""

import asyncio
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope

from reelgate.api.body import LARGE_BYTES, read_body
from reelgate.api.errors import model_not_found
from reelgate.api.forms import REQUEST_BYTES_MAX, BodyLimits
from reelgate.api.media_fields import (
    CLIP,
    PICTURE,
    REFERENCE_PICTURE,
    MediaKind,
    MediaPolicy,
    Unreadable,
    decode_text,
    read_media,
    shown,
)
from reelgate.domain.errors import Code, Problem
from reelgate.domain.model import ModelSpec, Operation
from reelgate.domain.order import Draft, MediaDraft
from reelgate.domain.rules import check

_WHOLE_DIGITS_MAX = 9
_DIGITS = re.compile(rf"[0-9]{{1,{_WHOLE_DIGITS_MAX}}}\Z")
_NAME_CHARS_SHOWN = 64
_UNKNOWN_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Preset:
    """What the route already says of the order: nothing at `POST /v1/videos`.

    A route with an operation does not need a model: OpenAI's SDKs send none to it.
    `source_task_id` is the video that the path names (remix).
    """

    operation: Operation | None = None
    source_task_id: str | None = None


CREATE = Preset()


# ---- how values are read ------------------------------------------------------------------

# (name as the caller wrote it, value, policy) -> what goes into the Draft; raises Unreadable.
_Reader = Callable[[str, Any, MediaPolicy], Any]


def _text(name: str, value: Any, _: MediaPolicy) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{name} must be a string; got {shown(value)}")
    if "\0" in value:
        raise Unreadable(f"{name} has a NUL character (U+0000), which no text may have")
    return value


def _whole_number(name: str, value: Any, _: MediaPolicy) -> int:
    """An integer, or its decimal digits as text: forms and OpenAI's `seconds` are text."""
    if type(value) is int and abs(value) < 10**_WHOLE_DIGITS_MAX:  # True is an int too
        return value
    if isinstance(value, str) and _DIGITS.match(value):
        return int(value)
    raise Unreadable(
        f'{name} must be a whole number of seconds such as 6 or "6"; got {shown(value)}'
    )


def _media(kind: MediaKind) -> _Reader:
    def read(name: str, value: Any, policy: MediaPolicy) -> MediaDraft:
        if isinstance(value, list):
            hint = "" if kind is CLIP else "; several pictures go into `images`"
            raise Unreadable(f"{name} takes one value, but got {shown(value)}{hint}")
        return read_media(name, value, kind, policy, name)

    return read


def _listed(name: str, value: Any) -> list[Any]:
    """A list as it is, as JSON text, or a single value that a form could not mark as a list."""
    if isinstance(value, str) and value.startswith("["):
        value = decode_text(name, value)
    return value if isinstance(value, list) else [value]


def _pictures(name: str, value: Any, policy: MediaPolicy) -> list[MediaDraft]:
    entries = _listed(name, value)
    if len(entries) > policy.pictures_max:
        raise Unreadable(
            f"{name} has {len(entries)} entries; at most {policy.pictures_max} are allowed"
        )
    return [
        read_media(f"{name}[{n}]", entry, PICTURE, policy, name) for n, entry in enumerate(entries)
    ]


def _only_clip(name: str, value: Any, policy: MediaPolicy) -> MediaDraft:
    entries = _listed(name, value)
    if len(entries) != 1:
        raise Unreadable(
            f"{name} must have exactly one entry, the video to edit or extend; got {len(entries)}"
        )
    return read_media(f"{name}[0]", entries[0], CLIP, policy, name)


def _object(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.startswith("{"):
        value = decode_text(name, value)
    if not isinstance(value, dict):
        raise Unreadable(f"{name} must be an object (or JSON text of one); got {shown(value)}")
    return value


def _pairs(name: str, value: Any, policy: MediaPolicy) -> dict[str, str]:
    pairs = _object(name, value)
    for key, text in pairs.items():
        label = f"{name}.{key[:_NAME_CHARS_SHOWN]}"
        _text(label, key, policy)
        _text(label, text, policy)
    return pairs


# ---- the rows -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """`name` as callers write it, `field` of the `Draft` that it stands for.

    Two names of one field may both be given when they say the same; where `alone` is set they
    may not.
    """

    name: str
    field: str
    read: _Reader
    alone: bool = False


_ROWS = (
    Row("model", "model", _text),
    Row("prompt", "prompt", _text),
    Row("image", "image", _media(PICTURE)),
    Row("image_url", "image", _media(PICTURE)),
    Row("input_reference", "image", _media(REFERENCE_PICTURE)),
    Row("images", "images", _pictures),
    Row("image_urls", "images", _pictures),
    Row("reference_images", "images", _pictures),
    Row("video", "video", _media(CLIP)),
    Row("videos", "video", _only_clip),
    Row("size", "size", _text),
    Row("resolution", "size", _text),
    Row("aspect_ratio", "aspect_ratio", _text),
    Row("duration", "seconds", _whole_number, alone=True),
    Row("seconds", "seconds", _whole_number, alone=True),
    Row("operation", "operation", _text),
    Row("input_video_seconds", "input_video_seconds", _whole_number),
    Row("user", "user", _text),
    Row("metadata", "metadata", _pairs),
)
ROWS: Mapping[str, Row] = {row.name: row for row in _ROWS}
EXTRA_BODY = "extra_body"
_KNOWN = (*ROWS, EXTRA_BODY)
# What `Draft.broken` calls a field, where that is not its own name.
_RULE_NAMES = {"seconds": "duration"}


class CreateReader:
    """Reads create requests for a set of models; made once."""

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        *,
        allow_http: bool,
        request_bytes_max: int = REQUEST_BYTES_MAX,
    ) -> None:
        specs = models.values()
        self._models = models
        self._policy = MediaPolicy(
            allow_http=allow_http,
            picture_bytes_max=max(spec.image_limits.bytes_max for spec in specs),
            clip_bytes_max=max(spec.video_limits.bytes_max for spec in specs),
            pictures_max=max(
                operation.images.high
                for spec in specs
                for operation in spec.operations.values()
                if operation.images
            ),
        )
        self.body_limits = BodyLimits(
            request_bytes_max=request_bytes_max,
            other_file_bytes_max=self._policy.clip_bytes_max,
            file_bytes_max={
                row.name: self._policy.picture_bytes_max
                for row in _ROWS
                if row.field in {"image", "images"}
            },
        )

    async def receive(
        self, scope: Scope, receive: Receive, preset: Preset = CREATE
    ) -> tuple[Draft, list[Problem]]:
        """`read_body`, then `read`; whatever takes long happens in a thread."""
        raw = await read_body(scope, receive, self.body_limits)
        if _has_long_text(raw):
            return await asyncio.to_thread(self.read, raw, preset)
        return self.read(raw, preset)

    def read(self, raw: Mapping[str, Any], preset: Preset = CREATE) -> tuple[Draft, list[Problem]]:
        """The draft that a body stands for, and everything in it that could not be read.

        Raises Refusal when there is no model to judge the rest by (`model_not_found`, or
        `missing_required_parameter` with all other problems).
        """
        reading = _Reading(self._policy)
        reading.take(raw)
        reading.apply(preset)
        given = {field: value for field, (_, value) in reading.given.items()}
        problems = [*reading.problems, *_unknown(reading.unknown)]
        model, missing = self._model(given.get("model"), preset, "model" in reading.broken)
        draft = Draft(
            **{**given, "model": model.id},
            seconds_param=reading.given.get("seconds", ("duration",))[0],
            remixed_from=preset.source_task_id,
            broken=frozenset(reading.broken),
        )
        if missing or "model" in reading.broken:
            check(draft, model, [*missing, *problems])
        return draft, problems

    def _model(
        self, name: str | None, preset: Preset, broken: bool
    ) -> tuple[ModelSpec, list[Problem]]:
        """The model, or one to judge the rest of the request by and what is missing."""
        if name is not None:
            if (model := self._models.get(name)) is not None:
                return model, []
            raise model_not_found(name, self._models)
        fitting = [
            spec for spec in self._models.values() if preset.operation in {None, *spec.operations}
        ]
        stand_in = fitting[0]
        if broken or preset.operation is not None:
            return stand_in, []
        known = " or ".join(f'"{name}"' for name in self._models)
        message = f'model is required; send "model": {known}.'
        return stand_in, [Problem(Code.MISSING_REQUIRED_PARAMETER, "model", message)]


class _Reading:
    """One request while it is read. `given` is by field: the name it came under, and its value."""

    def __init__(self, policy: MediaPolicy) -> None:
        self.policy = policy
        self.given: dict[str, tuple[str, Any]] = {}
        self.broken: set[str] = set()
        self.problems: list[Problem] = []
        self.unknown: list[str] = []

    def take(self, raw: Mapping[str, Any], inside: str = "") -> None:
        """All fields of an object; JSON null is the same as leaving a field out."""
        for name, value in raw.items():
            if value is None:
                continue
            row = ROWS.get(name)
            try:
                if row is not None:
                    self._put(row, inside, row.read(name, value, self.policy))
                elif name == EXTRA_BODY and not inside:
                    self.take(_object(name, value), inside=f"{EXTRA_BODY}.")
                else:
                    self.unknown.append(inside + name)
            except Unreadable as error:
                self.problems.append(Problem(error.code, name, f"{error.message}."))
                if row is not None:
                    self.broken.add(_RULE_NAMES.get(row.field, row.field))

    def _put(self, row: Row, inside: str, value: Any) -> None:
        if row.field not in self.given:
            self.given[row.field] = (row.name, value)
            return
        first_name, first = self.given[row.field]
        if row.alone and first_name != row.name:
            self.broken.add(_RULE_NAMES.get(row.field, row.field))
            self._conflict(
                row.name,
                f"`{first_name}` and `{row.name}` were both given; send exactly one of the two, "
                f'for example "{first_name}": {shown(first)}.',
            )
        elif _essence(first) != _essence(value):
            where = f"`{inside}{row.name}`"
            self._conflict(
                row.name,
                f"`{first_name}` and {where} mean the same and were given different values; "
                "send one of the two.",
            )

    def _conflict(self, name: str, message: str) -> None:
        self.problems.append(Problem(Code.CONFLICTING_PARAMETERS, name, message))

    def apply(self, preset: Preset) -> None:
        """What the route says is so, and the body may only repeat it."""
        if preset.operation is not None:
            fixed = preset.operation.value
            _, stated = self.given.setdefault("operation", ("operation", fixed))
            if stated != fixed:
                self._conflict(
                    "operation", f"This route does {fixed}, but operation says {shown(stated)}."
                )
                self.given["operation"] = ("operation", fixed)
        if preset.source_task_id is not None:
            if "video" in self.given or "video" in self.broken:
                name = self.given.get("video", ("video",))[0]
                self._conflict(
                    name, f"The path already names the source video; leave `{name}` out."
                )
            self.given["video"] = ("video", MediaDraft("video", task_id=preset.source_task_id))


def _essence(value: Any) -> Any:
    """What makes two values of one field the same, however they were sent."""
    if isinstance(value, MediaDraft):
        return value.url or value.task_id or value.sha256
    if isinstance(value, list):
        return [_essence(entry) for entry in value]
    return value


def _unknown(names: list[str]) -> list[Problem]:
    problems = [_unknown_parameter(name) for name in names[:_UNKNOWN_NAMED_MAX]]
    if len(names) > _UNKNOWN_NAMED_MAX:
        more = f"and {len(names) - _UNKNOWN_NAMED_MAX} more unknown parameters"
        problems.append(Problem(Code.UNKNOWN_PARAMETER, None, more))
    return problems


def _unknown_parameter(name: str) -> Problem:
    name = name[:_NAME_CHARS_SHOWN]
    near = difflib.get_close_matches(name.rpartition(".")[2].lower(), _KNOWN, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(_KNOWN)}."
    return Problem(Code.UNKNOWN_PARAMETER, name, f"`{name}` is not a parameter; {hint}")


def _has_long_text(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > LARGE_BYTES
    if isinstance(value, dict):
        return any(map(_has_long_text, value.values()))
    return isinstance(value, list) and any(map(_has_long_text, value))
