"""What a task may cost, and what it did cost. Integers of micro-USD, never a guess in between.

The highest a task can cost is quoted and held at submit; what was delivered is billed at the end.
Both count the rows of the operation's price (`OperationSpec.charges`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.model import TIER_720P, ModelSpec, OperationSpec, Quantity, tier_of
from reelgate.domain.order import Order, SourceFacts

# A clip of 6.04 s is 6 s: encoders rarely end on the second (contract, section 7).
_ROUNDING_TOLERANCE_MS = 100
_MS_PER_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One itemised charge: `amount_micro` is `quantity` times `unit_price_micro`."""

    item: str
    quantity: int
    unit: str
    unit_price_micro: int

    @property
    def amount_micro(self) -> int:
        return self.quantity * self.unit_price_micro


@dataclass(frozen=True, slots=True)
class Bill:
    """Itemised charges; they always add up to the total."""

    lines: tuple[Line, ...]

    @property
    def total_micro(self) -> int:
        return sum(line.amount_micro for line in self.lines)


@dataclass(frozen=True, slots=True)
class Terms:
    """The prices a task was accepted under, frozen at submit, and the quote that was held."""

    prices_micro: Mapping[str, int]
    quoted: Bill


def billed_seconds(duration_ms: int) -> int:
    """Whole seconds, rounded up with a tolerance of 100 ms; at least 1."""
    return max(1, -(-(duration_ms - _ROUNDING_TOLERANCE_MS) // _MS_PER_SECOND))


def quote(
    order: Order,
    spec: ModelSpec,
    prices_micro: Mapping[str, int],
    source: SourceFacts | None,
) -> Bill:
    """The highest this order can cost, knowing what is known of its source.

    Raises Refusal (`unavailable`) when a price is missing: nothing runs free.
    """
    operation = spec.operations[order.operation]
    source_seconds = _source_seconds_held(order, operation, source)
    quantities = {
        Quantity.OUTPUT_SECONDS: order.seconds or source_seconds,
        Quantity.INPUT_IMAGES: len(order.images),
        Quantity.SOURCE_SECONDS: source_seconds,
        Quantity.ADDED_SECONDS: order.seconds or 0,
    }
    return _bill(order, operation, prices_micro, quantities, _tier_held(order, source))


def final_bill(
    order: Order,
    spec: ModelSpec,
    terms: Terms,
    delivered: SourceFacts,
    source: SourceFacts | None,
    held_micro: int,
) -> Bill:
    """What was delivered, at the frozen prices, and never more than was held."""
    operation = spec.operations[order.operation]
    source_ms = source.duration_ms if source else _source_ms_from(order, delivered)
    quantities = {
        Quantity.OUTPUT_SECONDS: billed_seconds(delivered.duration_ms),
        Quantity.INPUT_IMAGES: len(order.images),
        Quantity.SOURCE_SECONDS: billed_seconds(source_ms),
        Quantity.ADDED_SECONDS: billed_seconds(delivered.duration_ms - source_ms),
    }
    tier = tier_of(delivered.width, delivered.height)
    bill = _bill(order, operation, terms.prices_micro, quantities, tier)
    return _capped(bill, held_micro)


def _source_seconds_held(order: Order, spec: OperationSpec, source: SourceFacts | None) -> int:
    if source is not None:
        return billed_seconds(source.duration_ms)
    if order.input_video_seconds is not None:
        return order.input_video_seconds
    return spec.declared_source_seconds.high if spec.declared_source_seconds else 0


def _tier_held(order: Order, source: SourceFacts | None) -> str:
    if source is not None and order.video is not None:
        return tier_of(source.width, source.height)
    return order.tier or TIER_720P


def _source_ms_from(order: Order, delivered: SourceFacts) -> int:
    """The length of a source that nobody could measure, read off the result."""
    if order.seconds is None:
        return delivered.duration_ms
    return max(0, delivered.duration_ms - order.seconds * _MS_PER_SECOND)


def _bill(
    order: Order,
    operation: OperationSpec,
    prices_micro: Mapping[str, int],
    quantities: Mapping[Quantity, int],
    tier: str,
) -> Bill:
    lines = []
    for charge in operation.charges:
        name = charge.price_name(tier)
        price = prices_micro.get(name)
        if price is None:
            raise Refusal(
                Code.UNAVAILABLE,
                f"No price is set for {name} of {order.model}, so {order.operation.value} can't be "
                "sold right now. Nothing was charged.",
            )
        lines.append(Line(name, quantities[charge.quantity], charge.unit, price))
    return Bill(tuple(lines))


def _capped(bill: Bill, held_micro: int) -> Bill:
    over = bill.total_micro - held_micro
    if over <= 0:
        return bill
    return Bill((*bill.lines, Line("above_hold_not_charged", 1, "adjustment", -over)))
