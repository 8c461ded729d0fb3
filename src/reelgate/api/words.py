"""What the vocabulary is made of: a word, and the forms that values come in."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from reelgate.api.describe import Schema
from reelgate.domain.task import State


@dataclass(frozen=True, slots=True)
class Word:
    """What a field means, and what more can be said of its value than its type."""

    about: str
    schema: Schema = field(default_factory=dict)


def one_of(values: Iterable[str]) -> Schema:
    """Some of these words."""
    return {"enum": list(dict.fromkeys(values))}


def text(pattern: str) -> Schema:
    """Text of this form."""
    return {"pattern": pattern}


# Decimal strings; upstreams tell their costs to ten places.
USD = text(r"^[0-9]+(\.[0-9]{1,6})?$")
USD_SIGNED = text(r"^-?[0-9]+(\.[0-9]{1,6})?$")
USD_FINE = text(r"^-?[0-9]+(\.[0-9]{1,10})?$")
DAY: Schema = {"format": "date"}
TASK_ID = text(r"^task_[2-7a-z]{32}$")
COUNT: Schema = {"minimum": 0}
TIME_S: Schema = COUNT
TIME_MS: Schema = COUNT
STATE = one_of(state.value for state in State)
