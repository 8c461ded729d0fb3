"""The catalogue as callers see it: `GET /v1/models` and `GET /v1/pricing`."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from reelgate.domain.examples import example
from reelgate.domain.model import Charge, MediaLimits, ModelSpec, Operation, OperationSpec, Span
from reelgate.domain.money import usd


class Range(msgspec.Struct, frozen=True):
    """From `min` to `max`, both included."""

    min: int
    max: int


class PriceItem(msgspec.Struct, frozen=True):
    """What one unit costs, in USD."""

    item: str
    unit: str
    unit_price: str


class OperationCard(msgspec.Struct, frozen=True, kw_only=True):
    """What one operation takes; null or an empty list is a field that it refuses.

    `input` is the field that holds the picture or clip. `source_ms` is how long a source may be,
    `input_video_seconds` what may be declared of it.
    """

    operation: str
    input: str
    duration: Range | None
    images: Range | None
    source_ms: Range | None
    input_video_seconds: Range | None
    sizes: tuple[str, ...]
    size_default: str | None
    aspect_ratios: tuple[str, ...]
    aspect_ratio_default: str | None
    prices: tuple[PriceItem, ...]
    example: dict[str, Any]


class MediaCard(msgspec.Struct, frozen=True):
    """What the bytes of an input may be; `codecs` are sample entries of an MP4."""

    types: tuple[str, ...]
    codecs: tuple[str, ...]
    bytes_max: int


class ModelLimits(msgspec.Struct, frozen=True):
    """What holds for every operation."""

    prompt_chars_max: int
    image: MediaCard
    video: MediaCard


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's model object, and what can be done with it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    title: str
    operations: tuple[OperationCard, ...]
    limits: ModelLimits
    pixel_sizes: dict[str, dict[str, tuple[str, ...]]]


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every model of this gateway."""

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]


class OperationPrice(msgspec.Struct, frozen=True):
    """What is charged for one operation: the sum of its items."""

    model: str
    operation: str
    items: tuple[PriceItem, ...]


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """The price table."""

    object: Literal["list"] = "list"
    currency: Literal["USD"] = "USD"
    data: tuple[OperationPrice, ...]


def model_card(spec: ModelSpec) -> ModelCard:
    """One model, with the prices that it is sold at."""
    return ModelCard(
        id=spec.id,
        created=spec.created,
        owned_by=spec.owned_by,
        title=spec.title,
        operations=tuple(
            _operation_card(spec, operation, row) for operation, row in spec.operations.items()
        ),
        limits=ModelLimits(
            spec.prompt_chars_max, _media_card(spec.image_limits), _media_card(spec.video_limits)
        ),
        pixel_sizes={tier: dict(ratios) for tier, ratios in spec.pixel_sizes.items()},
    )


def model_list(specs: Iterable[ModelSpec]) -> ModelList:
    return ModelList(data=tuple(model_card(spec) for spec in specs))


def pricing(specs: Iterable[ModelSpec]) -> Pricing:
    return Pricing(
        data=tuple(
            OperationPrice(spec.id, operation.value, _prices(spec, row))
            for spec in specs
            for operation, row in spec.operations.items()
        )
    )


def _operation_card(spec: ModelSpec, operation: Operation, row: OperationSpec) -> OperationCard:
    return OperationCard(
        operation=operation.value,
        input=row.inputs.value,
        duration=_range(row.seconds),
        images=_range(row.images),
        source_ms=_range(row.source_ms),
        input_video_seconds=_range(row.declared_source_seconds),
        sizes=spec.tiers if row.takes_size else (),
        size_default=row.tier_default,
        aspect_ratios=row.aspect_ratios,
        aspect_ratio_default=row.aspect_ratio_default,
        prices=_prices(spec, row),
        example=msgspec.json.decode(example(operation, spec.id), type=dict[str, Any]),
    )


def _prices(spec: ModelSpec, row: OperationSpec) -> tuple[PriceItem, ...]:
    """The operation's items in each tier; one without a price can't be sold and is left out."""
    named = [(name, charge.unit) for charge in row.charges for name in _price_names(spec, charge)]
    return tuple(
        PriceItem(name, unit, usd(spec.prices_micro[name]))
        for name, unit in named
        if name in spec.prices_micro
    )


def _price_names(spec: ModelSpec, charge: Charge) -> list[str]:
    return list(dict.fromkeys(charge.price_name(tier) for tier in spec.tiers))


def _media_card(limits: MediaLimits) -> MediaCard:
    return MediaCard(limits.mimes, limits.codecs, limits.bytes_max)


def _range(span: Span | None) -> Range | None:
    return Range(span.low, span.high) if span else None
