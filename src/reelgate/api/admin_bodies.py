"""What may be sent to the operator's routes.

Amounts are decimal strings of USD, never numbers; times are whole seconds since the epoch.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.money import parse_usd

OVERLAP_S_MAX = 30 * 86_400
_YEAR_9999_S = 253_402_300_799

Time = Annotated[int, msgspec.Meta(ge=0, le=_YEAR_9999_S)]


class NewAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`name` is one that no other account has; `credit` is what it begins with."""

    name: str
    credit: str = "0"


class NewCredit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money to add. The same `reference` again adds nothing; with another amount it is refused."""

    amount: str
    reference: str | None = None
    note: str = ""


class Adjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A correction, up or (with a minus) down. The account's owner sees `note`."""

    amount: str
    note: str


class LimitChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key may do; null is no limit, and what is left out stays as it is."""

    models: tuple[str, ...] | UnsetType | None = UNSET
    spend_day_max: str | UnsetType | None = UNSET
    spend_month_max: str | UnsetType | None = UNSET
    spend_total_max: str | UnsetType | None = UNSET
    requests_per_second_max: int | UnsetType | None = UNSET
    tasks_in_flight_max: int | UnsetType | None = UNSET

    def changes(self) -> dict[str, Any]:
        """The fields of `Limits` to change. Raises ValueError for what is no amount."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        given = {name: value for name, value in given.items() if value is not UNSET}
        spending = {
            f"{name}_micro": None if text is None else parse_usd(text)
            for name, text in given.items()
            if name.startswith("spend_")
        }
        return spending | {k: v for k, v in given.items() if not k.startswith("spend_")}


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expires_at` null: never."""

    name: str = "default"
    expires_at: Time | None = None
    limits: LimitChange = LimitChange()


class KeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    name: str | None = None
    expires_at: Time | UnsetType | None = UNSET
    limits: LimitChange = LimitChange()


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key works on."""

    overlap_s: int = 0


class Resolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a look at the upstream has shown of a stranded task.

    `failed`: it has no result (`upstream_ran` says whether it may charge for it). `running`: it
    has the job as `upstream_ref`. `queued`: it certainly does not have it; it is sent again.
    """

    outcome: Literal["failed", "running", "queued"]
    upstream_ran: bool | None = None
    upstream_ref: str | None = None
    note: str = ""


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; for the audit log."""

    note: str = ""


_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`\Z")
_FIELD = re.compile(r"Object (contains unknown|missing required) field `([^`]*)`")


def refusal(problem: str) -> Refusal:
    """What msgspec found wrong with a body, in the contract's terms."""
    place = _PATH.search(problem)
    path = place[1] if place else ""
    said = problem[: place.start()] if place else problem
    field = _FIELD.match(said)
    if field is None:
        return Refusal(Code.INVALID_VALUE, f"{path or 'The body'}: {said}.", path or None)
    param = f"{path}.{field[2]}" if path else field[2]
    if field[1] == "contains unknown":
        return Refusal(Code.UNKNOWN_PARAMETER, f"{param} is not a field of this route.", param)
    return Refusal(Code.MISSING_REQUIRED_PARAMETER, f"{param} is required.", param)
