"""Whether a request can be taken: every rule of contract section 3, all problems at once.

The limits themselves are rows of the catalogue; nothing here names a model or a number of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from reelgate.domain.errors import Code, Problem, Refusal
from reelgate.domain.model import Inputs, ModelSpec, Operation, OperationSpec, Span
from reelgate.domain.order import Draft, MediaDraft, MediaInput, Order

METADATA_PAIRS_MAX = 16
METADATA_KEY_CHARS_MAX = 64
METADATA_VALUE_CHARS_MAX = 512
USER_CHARS_MAX = 512
# Blanks around a prompt are kept, but not a megabyte of them.
_PROMPT_BLANKS_FACTOR = 2
_IMAGE_TAG = re.compile(r"@Image(\d+)")
_PIXELS = re.compile(r"(\d{1,5})x(\d{1,5})\Z")

_EXAMPLES: Mapping[Operation, str] = {
    Operation.TEXT_TO_VIDEO: '{"model": "grok-imagine", "prompt": "…", "duration": 6}',
    Operation.IMAGE_TO_VIDEO: '{"model": "grok-imagine", "prompt": "…", '
    '"image": "https://…/photo.png", "duration": 6}',
    Operation.REFERENCE_TO_VIDEO: '{"model": "grok-imagine", "prompt": "@Image1 …", '
    '"images": ["https://…/a.png", "https://…/b.png"], "duration": 6}',
    Operation.EDIT_VIDEO: '{"model": "grok-imagine", "prompt": "…", '
    '"video": "https://…/source.mp4", '
    '"extra_body": {"operation": "edit_video", "input_video_seconds": 8}}',
    Operation.VIDEO_EXTEND: '{"model": "grok-imagine", "prompt": "…", '
    '"video": "https://…/source.mp4", "duration": 6, '
    '"extra_body": {"operation": "video_extend", "input_video_seconds": 8}}',
}


def example(operation: Operation, model: str) -> str:
    """A whole JSON body that works for an operation, for messages and the reference."""
    return _EXAMPLES[operation].replace("grok-imagine", model)


@dataclass(frozen=True, slots=True)
class _Case:
    """A draft beside the rows that it is judged by."""

    draft: Draft
    model: ModelSpec
    operation: Operation
    spec: OperationSpec

    def example(self) -> str:
        return example(self.operation, self.model.id)


def check(
    draft: Draft, model: ModelSpec, problems: list[Problem] | None = None
) -> Order:
    """The order that a draft stands for.

    `problems` are those already found while reading the request; they come first. Fields named
    in `draft.broken` were given but could not be read, so nothing more is said of them.
    Raises Refusal listing every problem.
    """
    found = list(problems or ())
    found += _check_free_text(draft, model)
    found += _check_one_kind_of_input(draft)
    operation = _operation(draft, model, found)
    if operation is None:
        raise Refusal.of(found)
    case = _Case(draft, model, operation, model.operations[operation])
    for rule in _RULES:
        found += rule(case)
    if found:
        raise Refusal.of(found)
    return _order(case)


# ---- what holds for every operation -------------------------------------------------------


def _check_free_text(draft: Draft, model: ModelSpec) -> Iterator[Problem]:
    if "prompt" not in draft.broken:
        yield from _check_prompt(draft, model)
    if draft.user is not None and len(draft.user) > USER_CHARS_MAX:
        yield _invalid(
            "user", f"user has {len(draft.user)} characters; at most {USER_CHARS_MAX}."
        )
    if len(draft.metadata) > METADATA_PAIRS_MAX:
        given = len(draft.metadata)
        yield _invalid(
            "metadata",
            f"metadata has {given} pairs; at most {METADATA_PAIRS_MAX} are kept.",
        )
    for key, value in draft.metadata.items():
        if len(key) > METADATA_KEY_CHARS_MAX or len(value) > METADATA_VALUE_CHARS_MAX:
            yield _invalid(
                "metadata",
                f"metadata key {key[:METADATA_KEY_CHARS_MAX]!r}: a key has at most "
                f"{METADATA_KEY_CHARS_MAX} characters, a value {METADATA_VALUE_CHARS_MAX}.",
            )


def _check_prompt(draft: Draft, model: ModelSpec) -> Iterator[Problem]:
    limit = model.prompt_chars_max
    if draft.prompt is None:
        yield Problem(
            Code.MISSING_REQUIRED_PARAMETER,
            "prompt",
            f"prompt is required: 1 to {limit} characters that say what the video should show.",
        )
        return
    length = len(draft.prompt.strip())
    if length == 0:
        yield _invalid("prompt", f"prompt is empty; write 1 to {limit} characters.")
    elif length > limit or len(draft.prompt) > limit * _PROMPT_BLANKS_FACTOR:
        given = max(length, len(draft.prompt))
        yield _invalid(
            "prompt", f"prompt has {given} characters; at most {limit} are allowed."
        )


def _check_one_kind_of_input(draft: Draft) -> Iterator[Problem]:
    given = _given_inputs(draft)
    if len(given) > 1:
        names = " and ".join(f"`{kind.value}`" for kind in given)
        yield Problem(
            Code.CONFLICTING_PARAMETERS,
            given[-1].value,
            f"{names} were given together; send one of: `image` (one picture to animate), "
            "`images` (references), `video` (to edit or extend), or none (text to video).",
        )


def _given_inputs(draft: Draft) -> list[Inputs]:
    present = {
        Inputs.IMAGE: draft.image is not None or "image" in draft.broken,
        Inputs.IMAGES: draft.images is not None or "images" in draft.broken,
        Inputs.VIDEO: draft.video is not None or "video" in draft.broken,
    }
    return [kind for kind, given in present.items() if given]


# ---- which operation it is ----------------------------------------------------------------


def _operation(
    draft: Draft, model: ModelSpec, found: list[Problem]
) -> Operation | None:
    """The stated or inferred operation; None, with the reason in `found`, when unclear."""
    given = _given_inputs(draft)
    if draft.operation is not None:
        return _stated_operation(draft, model, given, found)
    if "operation" in draft.broken or len(given) > 1:
        return None
    kind = given[0] if given else Inputs.NONE
    candidates = [op for op, spec in model.operations.items() if spec.inputs is kind]
    has_seconds = draft.seconds is not None or "duration" in draft.broken
    for operation in candidates:
        if (model.operations[operation].seconds is not None) == has_seconds:
            return operation
    if candidates:
        return candidates[0]
    found.append(_invalid(kind.value, f"{model.id} takes no `{kind.value}`."))
    return None


def _stated_operation(
    draft: Draft, model: ModelSpec, given: list[Inputs], found: list[Problem]
) -> Operation | None:
    allowed = {op.value: op for op in model.operations}
    operation = allowed.get(draft.operation or "")
    if operation is None:
        found.append(
            _invalid(
                "operation",
                f"operation {_shown(draft.operation)} is not one of {', '.join(allowed)}.",
            )
        )
        return None
    needed = model.operations[operation].inputs
    if len(given) > 1 or given == ([] if needed is Inputs.NONE else [needed]):
        return operation
    needs = "no image and no video" if needed is Inputs.NONE else f"`{needed.value}`"
    has = " and ".join(f"`{kind.value}`" for kind in given) or "only a prompt"
    missing = not given
    found.append(
        Problem(
            Code.MISSING_REQUIRED_PARAMETER if missing else Code.CONFLICTING_PARAMETERS,
            needed.value if missing else "operation",
            f"operation {operation.value} needs {needs}, but the request has {has}. "
            f"Send for example {example(operation, model.id)}",
        )
    )
    return operation


# ---- what holds for one operation ---------------------------------------------------------


def _check_seconds(case: _Case) -> Iterator[Problem]:
    draft, allowed = case.draft, case.spec.seconds
    name = draft.seconds_param
    if "duration" in draft.broken:
        return
    if allowed is None:
        if draft.seconds is not None:
            yield Problem(
                Code.UNSUPPORTED_PARAMETER,
                name,
                f"{case.operation.value} takes no `{name}`: the result is as long as the source. "
                f"Leave it out: {case.example()} (to make the clip longer, use "
                '"operation": "video_extend")',
            )
    elif draft.seconds is None:
        yield Problem(
            Code.MISSING_REQUIRED_PARAMETER,
            "duration",
            f"duration is required for {case.operation.value}: a whole number of seconds from "
            f"{allowed.low} to {allowed.high}. Send for example {case.example()}",
        )
    elif draft.seconds not in allowed:
        yield _invalid(
            name,
            f"{name} {draft.seconds} is outside what {case.operation.value} allows: "
            f"{_span(allowed)} whole seconds.",
        )


def _check_size(case: _Case) -> Iterator[Problem]:
    size, model = case.draft.size, case.model
    if size is None:
        return
    if not case.spec.takes_size:
        yield Problem(
            Code.UNSUPPORTED_PARAMETER,
            "size",
            f"{case.operation.value} takes no `size`: the result has the size of its source. "
            f"Leave it out: {case.example()}",
        )
    elif size not in model.tiers and model.parse_pixels(size) is None:
        tiers = " or ".join(model.tiers)
        nearest = _nearest_sizes(size, model)
        hint = f"; the nearest pixel sizes are {nearest}" if nearest else ""
        yield _invalid(
            "size", f"size {_shown(size)} is not available: use {tiers}{hint}."
        )


def _nearest_sizes(size: str, model: ModelSpec) -> str:
    match = _PIXELS.match(size)
    if match is None:
        return ""
    width, height = int(match[1]), int(match[2])
    known = [
        s
        for ratios in model.pixel_sizes.values()
        for sizes in ratios.values()
        for s in sizes
    ]

    def distance(candidate: str) -> int:
        w, h = candidate.split("x")
        return abs(int(w) - width) + abs(int(h) - height)

    return " and ".join(sorted(known, key=distance)[:2])


def _check_aspect_ratio(case: _Case) -> Iterator[Problem]:
    ratio, allowed = case.draft.aspect_ratio, case.spec.aspect_ratios
    if ratio is None:
        return
    if not allowed:
        yield Problem(
            Code.UNSUPPORTED_PARAMETER,
            "aspect_ratio",
            f"{case.operation.value} takes no `aspect_ratio`: the result keeps the shape of its "
            f"source. Leave it out: {case.example()}",
        )
        return
    if ratio not in allowed:
        extra = " (auto needs one `image`)" if ratio == "auto" else ""
        yield _invalid(
            "aspect_ratio",
            f"aspect_ratio {_shown(ratio)} is not allowed for {case.operation.value}{extra}: "
            f"use {', '.join(allowed)}.",
        )
        return
    pixels = case.model.parse_pixels(case.draft.size or "")
    if pixels is not None and pixels[1] != ratio:
        yield Problem(
            Code.CONFLICTING_PARAMETERS,
            "aspect_ratio",
            f"size {case.draft.size} is {pixels[1]}, but aspect_ratio says {ratio}; "
            "send one of the two.",
        )


def _check_images(case: _Case) -> Iterator[Problem]:
    allowed = case.spec.images
    if allowed is None or "images" in case.draft.broken:
        return
    pictures = _pictures(case.draft)
    if case.spec.inputs is Inputs.IMAGES:
        if case.draft.images is not None and len(pictures) not in allowed:
            yield _invalid(
                "images",
                f"images has {len(pictures)} entries; {_span(allowed)} are allowed.",
            )
        for number in sorted(
            {int(n[:9]) for n in _IMAGE_TAG.findall(case.draft.prompt or "")}
        ):
            if not 1 <= number <= len(pictures):
                yield _invalid(
                    "prompt",
                    f"prompt names @Image{number}, but {len(pictures)} images were given; tags "
                    f"run from @Image1 to @Image{max(len(pictures), 1)}.",
                )
    for picture in pictures:
        yield from _check_bytes(picture, case.model.image_limits.mimes, "a picture")


def _check_video(case: _Case) -> Iterator[Problem]:
    draft, declared = case.draft, case.spec.declared_source_seconds
    if draft.input_video_seconds is not None:
        if declared is None:
            yield Problem(
                Code.UNSUPPORTED_PARAMETER,
                "input_video_seconds",
                f"{case.operation.value} takes no `input_video_seconds`: it has no source video.",
            )
        elif draft.input_video_seconds not in declared:
            yield _invalid(
                "input_video_seconds",
                f"input_video_seconds {draft.input_video_seconds} is outside what "
                f"{case.operation.value} takes: {_span(declared)} whole seconds.",
            )
    if draft.video is not None:
        yield from _check_bytes(draft.video, case.model.video_limits.mimes, "a video")
        yield from check_source(case.spec, case.operation, draft.video)


def _check_bytes(
    media: MediaDraft, mimes: tuple[str, ...], what: str
) -> Iterator[Problem]:
    if media.mime is not None and media.mime not in mimes:
        kinds = ", ".join(mime.partition("/")[2].upper() for mime in mimes)
        yield _invalid(
            media.param,
            f"{media.param} holds {media.mime}, but {what} must be {kinds}.",
        )


def check_source(
    spec: OperationSpec, operation: Operation, video: MediaDraft
) -> Iterator[Problem]:
    """Whether a measured source has a length that the operation takes."""
    if video.facts is None or spec.source_ms is None:
        return
    low, high = spec.source_ms.low, spec.source_ms.high
    if not low <= video.facts.duration_ms <= high:
        message = source_length_message(
            operation, spec.source_ms, video.facts.duration_ms
        )
        yield _invalid(video.param, message)


def source_length_message(operation: Operation, allowed: Span, duration_ms: int) -> str:
    """Says how long a source is and how long it may be."""
    return (
        f"the source video is {_seconds(duration_ms)} s long; {operation.value} takes sources of "
        f"{_seconds(allowed.low)} to {_seconds(allowed.high)} s."
    )


_RULES: tuple[Callable[[_Case], Iterator[Problem]], ...] = (
    _check_seconds,
    _check_size,
    _check_aspect_ratio,
    _check_images,
    _check_video,
)


# ---- the order ----------------------------------------------------------------------------


def _order(case: _Case) -> Order:
    draft, spec, model = case.draft, case.spec, case.model
    tier, ratio = draft.size or spec.tier_default, draft.aspect_ratio
    if draft.size is not None and draft.size not in model.tiers:
        pixels = model.parse_pixels(draft.size)
        assert pixels is not None
        tier, ratio = pixels[0], pixels[1] if spec.aspect_ratios else None
    return Order(
        model=model.id,
        operation=case.operation,
        prompt=draft.prompt or "",
        seconds=draft.seconds,
        tier=tier,
        size=draft.size,
        aspect_ratio=ratio or spec.aspect_ratio_default,
        images=tuple(_media_input(picture) for picture in _pictures(draft)),
        video=_media_input(draft.video) if draft.video else None,
        input_video_seconds=draft.input_video_seconds,
        user=draft.user,
        metadata=draft.metadata,
        remixed_from=draft.remixed_from,
    )


def _pictures(draft: Draft) -> list[MediaDraft]:
    return [draft.image] if draft.image else list(draft.images or ())


def _media_input(media: MediaDraft) -> MediaInput:
    return MediaInput(
        url=media.url,
        sha256=media.sha256,
        task_id=media.task_id,
        key=media.key,
        mime=media.mime,
        bytes=media.bytes,
        facts=media.facts,
    )


def _invalid(param: str, message: str) -> Problem:
    return Problem(Code.INVALID_VALUE, param, message)


def _seconds(duration_ms: int) -> str:
    whole, ms = divmod(duration_ms, 1000)
    return f"{whole}.{ms:03d}".rstrip("0").rstrip(".")


def _span(span: Span) -> str:
    return f"{span.low} to {span.high}"


def _shown(value: str | None, chars_max: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= chars_max else text[:chars_max] + "…"
