"""Keyset pages: what a list route is asked for in its query."""

from collections.abc import Mapping

from reelgate.api.describe import Param
from reelgate.domain.errors import Code, Refusal

PAGE_MAX = 100
PAGE_DEFAULT = 20
PAGE_ORDERS = ("desc", "asc")

AFTER = Param(
    "after", "Begin behind this one: the `last_id` of the page before.", {"type": "string"}
)
LIMIT = Param(
    "limit",
    "How many.",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
)
ORDER = Param(
    "order",
    "Newest first (`desc`) or oldest first.",
    {"type": "string", "enum": list(PAGE_ORDERS), "default": PAGE_ORDERS[0]},
)


def page_limit(query: Mapping[str, str]) -> int:
    """How many are asked for. Raises Refusal (`invalid_value`)."""
    given = query.get("limit")
    if given is None:
        return PAGE_DEFAULT
    if not given.isdecimal() or not given.isascii() or not 1 <= int(given[:9]) <= PAGE_MAX:
        raise Refusal(
            Code.INVALID_VALUE,
            f"limit {given[:40]!r} is not a whole number from 1 to {PAGE_MAX}.",
            "limit",
        )
    return int(given)


def newest_first(query: Mapping[str, str]) -> bool:
    """In which order. Raises Refusal (`invalid_value`)."""
    order = query.get("order", PAGE_ORDERS[0])
    if order not in PAGE_ORDERS:
        allowed = " or ".join(PAGE_ORDERS)
        raise Refusal(Code.INVALID_VALUE, f"order {order[:40]!r} is not {allowed}.", "order")
    return order == PAGE_ORDERS[0]


def numbered(query: Mapping[str, str], prefix: str) -> int | None:
    """The number in `after`, for lists whose ids are a word and a number.

    Raises Refusal (`invalid_value`).
    """
    after = query.get("after") or None
    if after is None:
        return None
    number = after.removeprefix(prefix)
    if not after.startswith(prefix) or not number.isdecimal() or not number.isascii():
        raise Refusal(
            Code.INVALID_VALUE, f"after {after[:60]!r} is not an id of this list.", "after"
        )
    return int(number[:18])
