"""`grok-imagine`: limits, defaults and prices.

Limits and prices are those of the upstream model `grok-imagine-video`, read from xAI's public
documentation and price list on 2026-11-22: text, image and reference limits from
docs.x.ai `video/generation` and `video/reference-to-video`, edit (8.7 s) from `video/editing`,
extension (2-15 s source, 2-10 s added) from `video/extension`. Pixel sizes are those of
OpenRouter's catalogue entry for the same model; 848x480 is xAI's own first schema.
The price of an extension is read as added seconds plus source seconds, whatever the tier.
Usual times are reports of 16-68 s for a short clip (vercel/ai PR 13390, pollinations PR 12696).
"""

from collections.abc import Mapping

from reelgate.domain.model import (
    TIER_480P,
    TIER_720P,
    Charge,
    Inputs,
    MediaLimits,
    ModelSpec,
    Operation,
    OperationSpec,
    Quantity,
    Span,
)

_MIB = 1024 * 1024

_PIXEL_SIZES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    TIER_480P: {
        "16:9": ("854x480", "848x480"),
        "9:16": ("480x854",),
        "1:1": ("480x480",),
        "4:3": ("640x480",),
        "3:4": ("480x640",),
        "3:2": ("720x480",),
        "2:3": ("480x720",),
    },
    TIER_720P: {
        "16:9": ("1280x720",),
        "9:16": ("720x1280",),
        "1:1": ("720x720",),
        "4:3": ("960x720",),
        "3:4": ("720x960",),
        "3:2": ("1080x720",),
        "2:3": ("720x1080",),
    },
}
_ASPECT_RATIOS = tuple(_PIXEL_SIZES[TIER_480P])

_OUTPUT = Charge("output_second", "second", Quantity.OUTPUT_SECONDS, per_tier=True)
_INPUT_IMAGE = Charge("input_image", "image", Quantity.INPUT_IMAGES)
_SOURCE = Charge("input_video_second", "second", Quantity.SOURCE_SECONDS)
_ADDED = Charge("extension_second", "second", Quantity.ADDED_SECONDS)

SPEC = ModelSpec(
    id="grok-imagine",
    title="Grok Imagine",
    owned_by="xai",
    created=1769558400,  # 2026-01-28, the upstream's launch
    prompt_chars_max=4096,
    images_tag="@Image",
    image_limits=MediaLimits(mimes=("image/jpeg", "image/png", "image/webp"), bytes_max=10 * _MIB),
    video_limits=MediaLimits(
        mimes=("video/mp4",), bytes_max=50 * _MIB, codecs=("avc1", "avc3", "hvc1", "hev1", "av01")
    ),
    tiers=(TIER_480P, TIER_720P),
    pixel_sizes=_PIXEL_SIZES,
    operations={
        Operation.TEXT_TO_VIDEO: OperationSpec(
            inputs=Inputs.NONE,
            seconds=Span(1, 15),
            tier_default=TIER_480P,
            aspect_ratios=_ASPECT_RATIOS,
            aspect_ratio_default="16:9",
            charges=(_OUTPUT,),
            usual_ms=20_000,
            poll_ms=3_000,
        ),
        Operation.IMAGE_TO_VIDEO: OperationSpec(
            inputs=Inputs.IMAGE,
            seconds=Span(1, 15),
            images=Span(1, 1),
            tier_default=TIER_480P,
            aspect_ratios=("auto", *_ASPECT_RATIOS),
            aspect_ratio_default="auto",
            charges=(_OUTPUT, _INPUT_IMAGE),
            usual_ms=20_000,
            poll_ms=3_000,
        ),
        Operation.REFERENCE_TO_VIDEO: OperationSpec(
            inputs=Inputs.IMAGES,
            seconds=Span(1, 10),
            images=Span(1, 7),
            tier_default=TIER_480P,
            aspect_ratios=_ASPECT_RATIOS,
            aspect_ratio_default="16:9",
            charges=(_OUTPUT, _INPUT_IMAGE),
            usual_ms=25_000,
            poll_ms=4_000,
        ),
        Operation.EDIT_VIDEO: OperationSpec(
            inputs=Inputs.VIDEO,
            source_ms=Span(1_000, 8_700),
            declared_source_seconds=Span(1, 9),
            charges=(_OUTPUT, _SOURCE),
            usual_ms=25_000,
            poll_ms=4_000,
        ),
        Operation.VIDEO_EXTEND: OperationSpec(
            inputs=Inputs.VIDEO,
            seconds=Span(2, 10),
            source_ms=Span(2_000, 15_000),
            declared_source_seconds=Span(2, 15),
            takes_size=False,
            charges=(_SOURCE, _ADDED),
            usual_ms=30_000,
            poll_ms=5_000,
        ),
    },
    prices_micro={
        "output_second_480p": 50_000,
        "output_second_720p": 70_000,
        "input_image": 2_000,
        "input_video_second": 10_000,
        "extension_second": 50_000,
    },
)
