"""What a row of a table of settings says, and how a value for it is read and shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import NODEFAULT, Meta, Struct, ValidationError, convert
from msgspec.structs import fields

from reelgate.domain.errors import OperatorError
from reelgate.logs import masked
from reelgate.settings import Secret

PREFIX = "REELGATE_"
_SHOWN_CHARS_MAX = 120


@dataclass(frozen=True, slots=True)
class Knob:
    """One row of a table of settings: what `_row` said of it, and its type."""

    name: str
    type: Any
    meta: Meta
    default: Any

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def unit(self) -> str:
        return str(self._said("unit") or "")

    @property
    def hidden(self) -> bool:
        """Whether what was given may be a secret."""
        return self.type is Secret or bool(self._said("hide"))

    @property
    def why(self) -> str:
        return self.meta.description or ""

    @property
    def default_shown(self) -> str:
        """The default as a person would write it, or where it comes from."""
        return str(self._said("default") or show(self.default))

    def _said(self, what: str) -> object:
        return (self.meta.extra or {}).get(what)

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self._said("allowed"):
            return str(self._said("allowed"))
        if get_origin(self.type) is Literal:
            return "one of " + ", ".join(get_args(self.type))
        words = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
        kinds = {tuple: "a list of strings", Mapping: "a table of strings"}
        text = words.get(self.type) or kinds.get(get_origin(self.type), "text")
        low, high = self.meta.ge, self.meta.le
        if low is not None and high is not None:
            text += f" from {low} to {high}"
        elif low is not None:
            text += f", at least {low}"
        return f"{text} ({self.unit})" if self.unit else text

    def read(self, label: str, given: object) -> Any:
        """`given` as this setting's type. Raises OperatorError."""
        checked = str if self.type in (Path, Secret) else self.type
        try:
            value = convert(given, Annotated[checked, self.meta], strict=False)
        except ValidationError:
            shown = "***" if self.hidden else quoted(given)
            raise OperatorError(
                f"{label} = {shown} can't be used: allowed is {self.allowed}"
            ) from None
        return self.type(value) if checked is not self.type else value


@cache
def knobs(table: type[Struct]) -> Mapping[str, Knob]:
    """The rows of a table by name, in the order in which they are written."""
    found = {}
    for field in fields(table):
        if get_origin(field.type) is not Annotated:
            continue
        union, meta = get_args(field.type)
        kinds = [kind for kind in get_args(union) if kind is not NoneType]
        kind = kinds[0] if NoneType in get_args(union) else union
        default = field.default if field.default is not NODEFAULT else None
        found[field.name] = Knob(field.name, kind, meta, default)
    return found


def show(value: object) -> str:
    """A value as a person would write it in the file, with passwords and keys masked."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Path():
            return str(value)
        case str():
            return masked(value)
        case list() | tuple():
            return ", ".join(show(item) for item in value)
        case Mapping():
            return ", ".join(f"{key} = {show(item)}" for key, item in value.items())
        case _:
            return str(value)


def quoted(given: object) -> str:
    """A value for a message: on one line, not too long, strings in quotes."""
    text = json.dumps(masked(given), ensure_ascii=False) if isinstance(given, str) else show(given)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"
