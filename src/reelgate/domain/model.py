"""The vocabulary in which a catalogue file describes a model. Rows of data, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """What a request asks a model to do."""

    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"
    REFERENCE_TO_VIDEO = "reference_to_video"
    EDIT_VIDEO = "edit_video"
    VIDEO_EXTEND = "video_extend"


class Inputs(StrEnum):
    """Which input field an operation takes; the value is the field's name."""

    NONE = "prompt"
    IMAGE = "image"
    IMAGES = "images"
    VIDEO = "video"


class Quantity(StrEnum):
    """What a price is counted by."""

    OUTPUT_SECONDS = "output_seconds"
    INPUT_IMAGES = "input_images"
    SOURCE_SECONDS = "source_seconds"
    ADDED_SECONDS = "added_seconds"


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of an operation's price.

    `item` names the price; where `per_tier` is set the price's name ends in the tier, as in
    `output_second_720p`.
    """

    item: str
    unit: str
    quantity: Quantity
    per_tier: bool = False

    def price_name(self, tier: str) -> str:
        return f"{self.item}_{tier}" if self.per_tier else self.item


@dataclass(frozen=True, slots=True)
class Span:
    """An inclusive range of whole seconds."""

    low: int
    high: int

    def __contains__(self, seconds: int) -> bool:
        return self.low <= seconds <= self.high


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """What one operation takes, gives and costs.

    `seconds` None means the field is refused. `source_ms` is the measured length that a source
    may have, `declared_source_seconds` what may be said of it. `aspect_ratios` empty means the
    field is refused; so does `takes_size` False. `usual_ms` is when a result is usually there,
    `poll_ms` how often to ask after that.
    """

    inputs: Inputs
    charges: tuple[Charge, ...]
    usual_ms: int
    poll_ms: int
    seconds: Span | None = None
    images: Span | None = None
    source_ms: Span | None = None
    declared_source_seconds: Span | None = None
    takes_size: bool = True
    tier_default: str | None = None
    aspect_ratios: tuple[str, ...] = ()
    aspect_ratio_default: str | None = None


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What the bytes of an input may be. `codecs` are MP4 sample entries."""

    mimes: tuple[str, ...]
    bytes_max: int
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: its operations, limits, sizes and prices.

    `pixel_sizes` maps a tier to its aspect ratios to the pixel sizes accepted for it, the first
    being the one that is made. `prices_micro` is micro-USD per unit by price name.
    """

    id: str
    title: str
    owned_by: str
    created: int
    prompt_chars_max: int
    images_tag: str
    image_limits: MediaLimits
    video_limits: MediaLimits
    tiers: tuple[str, ...]
    pixel_sizes: Mapping[str, Mapping[str, tuple[str, ...]]]
    operations: Mapping[Operation, OperationSpec]
    prices_micro: Mapping[str, int]

    def parse_pixels(self, size: str) -> tuple[str, str] | None:
        """The (tier, aspect ratio) of a pixel size such as `1280x720`, None if not in the table."""
        for tier, ratios in self.pixel_sizes.items():
            for ratio, sizes in ratios.items():
                if size in sizes:
                    return tier, ratio
        return None

    def pixels(self, tier: str, aspect_ratio: str) -> tuple[int, int]:
        """Width and height that a tier and aspect ratio stand for."""
        width, height = self.pixel_sizes[tier][aspect_ratio][0].split("x")
        return int(width), int(height)


TIER_480P = "480p"
TIER_720P = "720p"
_TIER_480P_SHORT_SIDE_MAX = 480


def tier_of(width: int, height: int) -> str:
    """The tier of any picture: shorter side up to 480 is 480p, above it 720p."""
    return TIER_480P if min(width, height) <= _TIER_480P_SHORT_SIDE_MAX else TIER_720P
