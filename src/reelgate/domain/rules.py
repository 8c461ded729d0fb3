"""Whether a request can be taken: every rule of contract section 3, all problems at once.

The limits themselves are rows of the catalogue; nothing here names a model or a number of it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reelgate.domain.errors import Code, Problem, Refusal
from reelgate.domain.examples import example
from reelgate.domain.model import Inputs, ModelSpec, Operation, OperationSpec, Span
from reelgate.domain.operations import given_inputs, operation_of
from reelgate.domain.order import Draft, MediaDraft, MediaInput, Order
from reelgate.domain.quoting import quoted

METADATA_PAIRS_MAX = 16
METADATA_KEY_CHARS_MAX = 64
METADATA_VALUE_CHARS_MAX = 512
# The task object answers with the caller's pairs and this one of ours.
METADATA_KEY_RESERVED = "url"
USER_CHARS_MAX = 512
# Blanks around a prompt are kept, but not a megabyte of them.
_PROMPT_BLANKS_FACTOR = 2
_TAGS_SHOWN_MAX = 5
_PIXELS = re.compile(r"(\d{1,5})x(\d{1,5})\Z")


@dataclass(frozen=True, slots=True)
class _Case:
    """A draft beside the rows that it is judged by."""

    draft: Draft
    model: ModelSpec
    operation: Operation
    spec: OperationSpec

    def example(self) -> str:
        return example(self.operation, self.model.id)

    def refused(self, param: str, why: str) -> Problem:
        """A field that this operation does not take."""
        message = (
            f"{self.operation.value} takes no `{param}`: {why}. Leave it out: {self.example()}"
        )
        return Problem(Code.UNSUPPORTED_PARAMETER, param, message + self.reading())

    def outside(self, param: str, given: int, allowed: Span) -> Problem:
        """A number of seconds that this operation does not take."""
        message = (
            f"{param} {given} is outside what {self.operation.value} takes: {_span(allowed)} "
            f"whole seconds.{self.reading()}"
        )
        return _invalid(param, message)

    def reading(self) -> str:
        """Why it is this operation, where a caller may have meant another one."""
        if self.spec.inputs is not Inputs.VIDEO or self.draft.operation is not None:
            return ""
        return (
            f" (Read as {self.operation.value}: without an `operation`, a `video` with a duration "
            "is extended and one without is edited.)"
        )


def check(draft: Draft, model: ModelSpec, problems: list[Problem] | None = None) -> Order:
    """The order that a draft stands for.

    `problems` are those already found while reading the request; they come first. Fields named
    in `draft.broken` were given but could not be read, so nothing more is said of them.
    Raises Refusal listing every problem.
    """
    found = list(problems or ())
    found += _check_free_text(draft, model)
    found += _check_one_kind_of_input(draft)
    operation = operation_of(draft, model, found)
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
        yield _invalid("user", f"user has {len(draft.user)} characters; at most {USER_CHARS_MAX}.")
    if len(draft.metadata) > METADATA_PAIRS_MAX:
        given = len(draft.metadata)
        yield _invalid(
            "metadata",
            f"metadata has {given} pairs; at most {METADATA_PAIRS_MAX} are kept.",
        )
    elif METADATA_KEY_RESERVED in draft.metadata:
        yield _invalid(
            "metadata",
            f"metadata can't have `{METADATA_KEY_RESERVED}`: that is where the finished video's "
            "link is given. Choose another name.",
        )
    for key, value in draft.metadata.items():
        if len(key) > METADATA_KEY_CHARS_MAX or len(value) > METADATA_VALUE_CHARS_MAX:
            yield _invalid(
                "metadata",
                f"metadata key {quoted(key)}: a key has at most {METADATA_KEY_CHARS_MAX} "
                f"characters, a value {METADATA_VALUE_CHARS_MAX}.",
            )
            return  # one is enough: there may be thousands


def _check_prompt(draft: Draft, model: ModelSpec) -> Iterator[Problem]:
    limit = model.prompt_chars_max
    if draft.prompt is None:
        yield Problem(
            Code.MISSING_REQUIRED_PARAMETER,
            "prompt",
            f"prompt is required: 1 to {limit} characters that say what the video should show. "
            f"Send for example {_examples(draft, model)}",
        )
        return
    length = len(draft.prompt.strip())
    if length == 0:
        yield _invalid("prompt", f"prompt is empty; write 1 to {limit} characters.")
    elif length > limit or len(draft.prompt) > limit * _PROMPT_BLANKS_FACTOR:
        given = max(length, len(draft.prompt))
        yield _invalid("prompt", f"prompt has {given} characters; at most {limit} are allowed.")


def _examples(draft: Draft, model: ModelSpec) -> str:
    """One body for each operation that the draft could become."""
    given = given_inputs(draft)[:1] or [Inputs.NONE]
    fitting = [op for op, spec in model.operations.items() if spec.inputs in given]
    fitting = [op for op in fitting if op == draft.operation] or fitting
    return " or ".join(example(operation, model.id) for operation in fitting)


def _check_one_kind_of_input(draft: Draft) -> Iterator[Problem]:
    given = given_inputs(draft)
    if len(given) > 1:
        names = " and ".join(f"`{kind.value}`" for kind in given)
        yield Problem(
            Code.CONFLICTING_PARAMETERS,
            given[-1].value,
            f"{names} were given together; send one of: `image` (one picture to animate), "
            "`images` (references), `video` (to edit or extend), or none (text to video).",
        )


# ---- what holds for one operation ---------------------------------------------------------


def _check_seconds(case: _Case) -> Iterator[Problem]:
    draft, allowed = case.draft, case.spec.seconds
    name = draft.seconds_param
    if "duration" in draft.broken:
        return
    if allowed is None:
        if draft.seconds is not None:
            why = 'the result is as long as its source ("operation": "video_extend" adds to it)'
            yield case.refused(name, why)
    elif draft.seconds is None:
        yield Problem(
            Code.MISSING_REQUIRED_PARAMETER,
            "duration",
            f"duration is required for {case.operation.value}: a whole number of seconds from "
            f"{allowed.low} to {allowed.high}. Send for example {case.example()}",
        )
    elif draft.seconds not in allowed:
        yield case.outside(name, draft.seconds, allowed)


def _check_size(case: _Case) -> Iterator[Problem]:
    size, model = case.draft.size, case.model
    if size is None:
        return
    if not case.spec.takes_size:
        yield case.refused("size", "the result has the size of its source")
    elif size not in model.tiers and model.parse_pixels(size) is None:
        tiers = " or ".join(model.tiers)
        nearest = _nearest_sizes(size, model)
        hint = f"; the nearest pixel sizes are {nearest}" if nearest else ""
        yield _invalid("size", f"size {quoted(size)} is not available: use {tiers}{hint}.")


def _nearest_sizes(size: str, model: ModelSpec) -> str:
    match = _PIXELS.match(size)
    if match is None:
        return ""
    width, height = int(match[1]), int(match[2])
    known = [s for ratios in model.pixel_sizes.values() for sizes in ratios.values() for s in sizes]

    def distance(candidate: str) -> int:
        w, h = candidate.split("x")
        return abs(int(w) - width) + abs(int(h) - height)

    return " and ".join(sorted(known, key=distance)[:2])


def _check_aspect_ratio(case: _Case) -> Iterator[Problem]:
    ratio, allowed = case.draft.aspect_ratio, case.spec.aspect_ratios
    if ratio is None:
        return
    if not allowed:
        yield case.refused("aspect_ratio", "the result keeps the shape of its source")
        return
    if ratio not in allowed:
        extra = " (auto needs one `image`)" if ratio == "auto" else ""
        yield _invalid(
            "aspect_ratio",
            f"aspect_ratio {quoted(ratio)} is not allowed for {case.operation.value}{extra}: "
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
    draft, allowed = case.draft, case.spec.images
    if allowed is None or draft.images is None or "images" in draft.broken:
        return
    given = len(draft.images)
    if given not in allowed:
        yield _invalid("images", f"images has {given} entries; {_span(allowed)} are allowed.")
    yield from _check_tags(case, given)


def _check_tags(case: _Case, pictures: int) -> Iterator[Problem]:
    prompt, tag = case.draft.prompt or "", case.model.images_tag
    if tag not in prompt or len(prompt) > case.model.prompt_chars_max:
        return
    numbers = {int(digits) for digits in re.findall(re.escape(tag) + "([0-9]{1,9})", prompt)}
    if wrong := sorted(number for number in numbers if not 1 <= number <= pictures):
        named = ", ".join(f"{tag}{number}" for number in wrong[:_TAGS_SHOWN_MAX])
        yield _invalid(
            "prompt",
            f"prompt names {named}, but {pictures} images were given: tags run from {tag}1 to "
            f"{tag}{max(pictures, 1)}.",
        )


def _check_video(case: _Case) -> Iterator[Problem]:
    draft, declared = case.draft, case.spec.declared_source_seconds
    if draft.input_video_seconds is not None:
        if declared is None:
            yield case.refused("input_video_seconds", "it has no source video")
        elif draft.input_video_seconds not in declared:
            yield case.outside("input_video_seconds", draft.input_video_seconds, declared)
    allowed = case.spec.source_ms
    if draft.video is not None and draft.video.facts is not None and allowed is not None:
        source_ms = draft.video.facts.duration_ms
        if source_ms not in allowed:
            message = source_length_message(case.operation, allowed, source_ms)
            yield _invalid(draft.video.param, message)


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
