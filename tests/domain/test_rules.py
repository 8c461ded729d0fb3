"""Every rule of contract section 3, on drafts: what is taken, as what, and what is refused.

Rows of requests as they come over the wire are in `tests/api/test_fields.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgate.catalog import MODELS
from reelgate.domain.errors import PROBLEMS_SHOWN_MAX, Code, Problem, Refusal
from reelgate.domain.model import Operation
from reelgate.domain.order import Draft, MediaDraft, Order, SourceFacts
from reelgate.domain.rules import check

SPEC = MODELS["grok-imagine"]
T2V, I2V, R2V, EDIT, EXTEND = Operation
MISSING, INVALID = Code.MISSING_REQUIRED_PARAMETER, Code.INVALID_VALUE
CONFLICT, UNSUPPORTED = Code.CONFLICTING_PARAMETERS, Code.UNSUPPORTED_PARAMETER


def picture(n: int = 1) -> MediaDraft:
    return MediaDraft("image", url=f"https://example.com/{n}.png")


def pictures(count: int) -> list[MediaDraft]:
    return [MediaDraft("images", url=f"https://example.com/{n}.png") for n in range(count)]


def clip(duration_ms: int | None = None) -> MediaDraft:
    facts = None if duration_ms is None else SourceFacts(1280, 720, duration_ms)
    return MediaDraft("video", url="https://example.com/a.mp4", facts=facts)


def draft(**fields: Any) -> Draft:
    return Draft(**{"model": SPEC.id, "prompt": "a paper boat", **fields})


@dataclass(frozen=True)
class Taken:
    """`became` are fields of the order."""

    name: str
    draft: Draft
    became: dict[str, Any]


def taken(name: str, draft: Draft, operation: Operation, **became: Any) -> Taken:
    return Taken(name, draft, {"operation": operation, **became})


TAKEN = (
    taken("text", draft(seconds=1), T2V, seconds=1, tier="480p", size=None, aspect_ratio="16:9"),
    taken("text, longest", draft(seconds=15, size="720p"), T2V, tier="720p", size="720p"),
    taken("one image", draft(seconds=15, image=picture()), I2V, tier="480p", aspect_ratio="auto"),
    taken("one image, with a ratio", draft(seconds=5, image=picture(), aspect_ratio="1:1"), I2V),
    taken("one reference", draft(seconds=10, images=pictures(1)), R2V, aspect_ratio="16:9"),
    taken("seven references", draft(seconds=1, images=pictures(7)), R2V),
    taken("tags", draft(seconds=5, images=pictures(2), prompt="@Image1 @Image2 @Image1"), R2V),
    taken("a tag without references is text", draft(seconds=5, prompt="@Image9"), T2V),
    taken("video, no duration", draft(video=clip()), EDIT, seconds=None, tier=None),
    taken("video with a duration", draft(video=clip(), seconds=2), EXTEND, seconds=2, size=None),
    taken("edit, stated", draft(video=clip(), operation="edit_video", size="480p"), EDIT),
    taken("edit of the longest", draft(video=clip(8_700)), EDIT, aspect_ratio=None),
    taken("edit of the shortest", draft(video=clip(1_000), input_video_seconds=1), EDIT),
    taken("extend the longest", draft(video=clip(15_000), seconds=10), EXTEND, tier=None),
    taken("extend the shortest", draft(video=clip(2_000), seconds=2), EXTEND, aspect_ratio=None),
    taken("pixels", draft(seconds=5, size="1280x720"), T2V, tier="720p", size="1280x720"),
    taken("pixels set the ratio", draft(seconds=5, size="480x720"), T2V, aspect_ratio="2:3"),
    taken("xAI's own 480p", draft(seconds=5, size="848x480"), T2V, aspect_ratio="16:9"),
    taken(
        "pixels and their own ratio",
        draft(seconds=5, size="720x720", aspect_ratio="1:1"),
        T2V,
        aspect_ratio="1:1",
    ),
    taken(
        "pixels beat auto",
        draft(seconds=5, image=picture(), size="640x480"),
        I2V,
        aspect_ratio="4:3",
    ),
    taken("a prompt keeps its blanks", draft(seconds=5, prompt="  boat\n"), T2V, prompt="  boat\n"),
    taken("the longest prompt", draft(seconds=5, prompt="é" * 4096), T2V),
    taken("blanks do not count", draft(seconds=5, prompt=" " * 1000 + "x" * 4096), T2V),
    taken(
        "what is kept",
        draft(seconds=5, user="u" * 512, metadata={"k" * 64: "v" * 512}),
        T2V,
        user="u" * 512,
        metadata={"k" * 64: "v" * 512},
    ),
    taken("sixteen pairs", draft(seconds=5, metadata={str(n): "" for n in range(16)}), T2V),
)


@pytest.mark.parametrize("row", TAKEN, ids=lambda row: row.name)
def test_what_is_taken(row: Taken) -> None:
    order = check(row.draft, SPEC)
    assert {name: getattr(order, name) for name in row.became} == row.became


@pytest.mark.parametrize("tier", SPEC.pixel_sizes)
def test_every_pixel_size_is_taken_and_gives_tier_and_ratio(tier: str) -> None:
    for ratio, sizes in SPEC.pixel_sizes[tier].items():
        for size in sizes:
            order = check(draft(seconds=5, size=size), SPEC)
            assert (order.tier, order.aspect_ratio, order.size) == (tier, ratio, size)


@dataclass(frozen=True)
class Refused:
    """`says` are fragments that the message must have."""

    name: str
    draft: Draft
    code: Code
    param: str
    says: tuple[str, ...] = field(default=())


REFUSED = (
    Refused("no prompt", draft(prompt=None, seconds=5), MISSING, "prompt", ("4096", '"duration"')),
    Refused("empty prompt", draft(prompt="", seconds=5), INVALID, "prompt", ("empty",)),
    Refused("blank prompt", draft(prompt=" \n\t", seconds=5), INVALID, "prompt", ("empty",)),
    Refused(
        "long prompt", draft(prompt="x" * 4097, seconds=5), INVALID, "prompt", ("4097", "4096")
    ),
    Refused("a megabyte of blanks", draft(prompt=" " * 10**6 + "x", seconds=5), INVALID, "prompt"),
    Refused("long user", draft(seconds=5, user="u" * 513), INVALID, "user", ("513", "512")),
    Refused(
        "17 pairs",
        draft(seconds=5, metadata={str(n): "" for n in range(17)}),
        INVALID,
        "metadata",
        ("17", "16"),
    ),
    Refused("long key", draft(seconds=5, metadata={"k" * 65: ""}), INVALID, "metadata", ("64",)),
    Refused(
        "long value", draft(seconds=5, metadata={"k": "v" * 513}), INVALID, "metadata", ("512",)
    ),
    Refused("our own key", draft(seconds=5, metadata={"url": "x"}), INVALID, "metadata", ("url",)),
    # which operation
    Refused("unknown operation", draft(operation="morph"), INVALID, "operation", (*Operation,)),
    Refused("empty operation", draft(operation=""), INVALID, "operation", ("''",)),
    Refused(
        "edit without a video",
        draft(operation="edit_video"),
        MISSING,
        "video",
        ("needs `video`", '"operation": "edit_video"'),
    ),
    Refused(
        "image operation without an image",
        draft(operation="image_to_video", seconds=5),
        MISSING,
        "image",
        ("needs `image`",),
    ),
    Refused(
        "text operation with an image",
        draft(operation="text_to_video", seconds=5, image=picture()),
        CONFLICT,
        "operation",
        ("no image and no video", "has `image`"),
    ),
    Refused(
        "edit of an image",
        draft(operation="edit_video", image=picture()),
        CONFLICT,
        "operation",
        ("needs `video`", "has `image`"),
    ),
    Refused(
        "image and images",
        draft(seconds=5, image=picture(), images=pictures(2)),
        CONFLICT,
        "images",
        ("`image` and `images`",),
    ),
    Refused(
        "image and video",
        draft(seconds=5, image=picture(), video=clip()),
        CONFLICT,
        "video",
        ("`image` and `video`",),
    ),
    Refused(
        "all three, one of them stated",
        draft(
            seconds=5, image=picture(), images=pictures(1), video=clip(), operation="video_extend"
        ),
        CONFLICT,
        "video",
        ("`image` and `images` and `video`",),
    ),
    # seconds
    Refused("text without seconds", draft(), MISSING, "duration", ("1 to 15", '"duration": 6')),
    Refused("image without seconds", draft(image=picture()), MISSING, "duration", ("1 to 15",)),
    Refused("references without", draft(images=pictures(2)), MISSING, "duration", ("1 to 10",)),
    Refused(
        "extend without seconds",
        draft(video=clip(), operation="video_extend"),
        MISSING,
        "duration",
        ("2 to 10", '"video_extend"'),
    ),
    Refused("0 s", draft(seconds=0), INVALID, "duration", ("0", "1 to 15")),
    Refused("-1 s", draft(seconds=-1), INVALID, "duration", ("-1", "1 to 15")),
    Refused("16 s", draft(seconds=16), INVALID, "duration", ("16", "1 to 15")),
    Refused("16 s as seconds", draft(seconds=16, seconds_param="seconds"), INVALID, "seconds"),
    Refused("image, 16 s", draft(seconds=16, image=picture()), INVALID, "duration", ("1 to 15",)),
    Refused(
        "references, 11 s", draft(seconds=11, images=pictures(1)), INVALID, "duration", ("1 to 10",)
    ),
    Refused("extend by 1 s", draft(seconds=1, video=clip()), INVALID, "duration", ("2 to 10",)),
    Refused(
        "extend by 11 s, not stated",
        draft(seconds=11, video=clip()),
        INVALID,
        "duration",
        ("2 to 10", "Read as video_extend"),
    ),
    Refused(
        "edit with seconds",
        draft(video=clip(), operation="edit_video", seconds=5, seconds_param="seconds"),
        UNSUPPORTED,
        "seconds",
        ("takes no `seconds`", "video_extend", '"operation": "edit_video"'),
    ),
    # size
    Refused("no such tier", draft(seconds=5, size="1080p"), INVALID, "size", ("480p or 720p",)),
    Refused("empty size", draft(seconds=5, size=""), INVALID, "size", ("480p or 720p",)),
    Refused(
        "no such pixels",
        draft(seconds=5, size="1280x700"),
        INVALID,
        "size",
        ("1280x720 and 1080x720",),
    ),
    Refused(
        "OpenAI's tall size",
        draft(seconds=5, size="1024x1792"),
        INVALID,
        "size",
        ("nearest",),
    ),
    Refused("not pixels", draft(seconds=5, size="x" * 10_000), INVALID, "size", ("480p or 720p",)),
    Refused(
        "size when extending",
        draft(seconds=5, video=clip(), size="720p"),
        UNSUPPORTED,
        "size",
        ("takes no `size`", "Read as video_extend", '"operation": "video_extend"'),
    ),
    # aspect ratio
    Refused(
        "no such ratio", draft(seconds=5, aspect_ratio="21:9"), INVALID, "aspect_ratio", ("16:9",)
    ),
    Refused(
        "auto without an image",
        draft(seconds=5, aspect_ratio="auto"),
        INVALID,
        "aspect_ratio",
        ("one `image`",),
    ),
    Refused(
        "auto with references",
        draft(seconds=5, images=pictures(2), aspect_ratio="auto"),
        INVALID,
        "aspect_ratio",
    ),
    Refused(
        "ratio of an edit", draft(video=clip(), aspect_ratio="1:1"), UNSUPPORTED, "aspect_ratio"
    ),
    Refused(
        "ratio of an extension",
        draft(video=clip(), seconds=5, aspect_ratio="1:1"),
        UNSUPPORTED,
        "aspect_ratio",
    ),
    Refused(
        "pixels against the ratio",
        draft(seconds=5, size="1280x720", aspect_ratio="1:1"),
        CONFLICT,
        "aspect_ratio",
        ("16:9", "1:1"),
    ),
    # pictures
    Refused("no references", draft(seconds=5, images=[]), INVALID, "images", ("0", "1 to 7")),
    Refused("eight", draft(seconds=5, images=pictures(8)), INVALID, "images", ("8", "1 to 7")),
    Refused(
        "a tag without its image",
        draft(seconds=5, images=pictures(2), prompt="@Image1 and @Image3"),
        INVALID,
        "prompt",
        ("@Image3", "@Image2"),
    ),
    Refused("tag 0", draft(seconds=5, images=pictures(2), prompt="@Image0"), INVALID, "prompt"),
    # source
    Refused(
        "edit said to be 10 s",
        draft(video=clip(), input_video_seconds=10),
        INVALID,
        "input_video_seconds",
        ("10", "1 to 9", "Read as edit_video"),
    ),
    Refused(
        "source of 0 s", draft(video=clip(), input_video_seconds=0), INVALID, "input_video_seconds"
    ),
    Refused(
        "extension said to be 16 s",
        draft(video=clip(), seconds=5, input_video_seconds=16),
        INVALID,
        "input_video_seconds",
        ("16", "2 to 15"),
    ),
    Refused(
        "a source length without a source",
        draft(seconds=5, input_video_seconds=5),
        UNSUPPORTED,
        "input_video_seconds",
    ),
    Refused(
        "too long to edit", draft(video=clip(8_701)), INVALID, "video", ("8.701 s", "1 to 8.7 s")
    ),
    Refused("too short to edit", draft(video=clip(999)), INVALID, "video", ("0.999 s",)),
    Refused(
        "too long to extend", draft(video=clip(15_001), seconds=5), INVALID, "video", ("2 to 15",)
    ),
    Refused(
        "too short to extend", draft(video=clip(1_999), seconds=5), INVALID, "video", ("2 to 15",)
    ),
)


def refusal_of(draft: Draft, problems: list[Problem] | None = None) -> Refusal:
    with pytest.raises(Refusal) as refused:
        check(draft, SPEC, problems)
    return refused.value


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_what_is_refused(row: Refused) -> None:
    refusal = refusal_of(row.draft)
    assert (refusal.code, refusal.param) == (row.code, row.param)
    assert [part for part in row.says if part not in refusal.message] == []
    assert len(refusal.message) < 2_000


def test_every_problem_is_listed_and_the_first_is_the_param() -> None:
    wrong = draft(prompt="", seconds=99, size="8k", aspect_ratio="5:4", user="u" * 600)
    refusal = refusal_of(wrong)
    assert (refusal.code, refusal.param) == (INVALID, "prompt")
    assert refusal.message.startswith("5 problems: (1) prompt")
    for part in ("(2) user", "(3) duration 99", "(4) size '8k'", "(5) aspect_ratio '5:4'"):
        assert part in refusal.message


def test_what_was_found_while_reading_comes_first() -> None:
    unreadable = Problem(Code.UNKNOWN_PARAMETER, "colour", "`colour` is not a parameter.")
    refusal = refusal_of(draft(), [unreadable])
    assert (refusal.code, refusal.param) == (Code.UNKNOWN_PARAMETER, "colour")
    assert "(2) duration is required" in refusal.message


def test_nothing_more_is_said_of_what_could_not_be_read() -> None:
    """Broken fields count as given: no second problem follows from one mistake."""
    unreadable = Problem(INVALID, "x", "`x` is broken.")
    for name, rest in {
        "prompt": draft(prompt=None, seconds=5),
        "duration": draft(),
        "image": draft(seconds=5, aspect_ratio="auto"),
        "images": draft(seconds=5, prompt="@Image7"),
        "video": draft(),
        "operation": draft(),
    }.items():
        rest.broken = frozenset({name})
        assert refusal_of(rest, [unreadable]).message == "`x` is broken."


def test_thousands_of_problems_make_a_short_answer() -> None:
    many = [Problem(INVALID, "x", "`x` is broken.")] * 10_000
    refusal = refusal_of(draft(seconds=5), many)
    assert refusal.message.startswith("10000 problems: (1) ")
    assert f"({PROBLEMS_SHOWN_MAX})" in refusal.message
    assert f"({PROBLEMS_SHOWN_MAX + 1})" not in refusal.message
    tags = " ".join(f"@Image{n}" for n in range(400))
    assert len(refusal_of(draft(seconds=5, images=pictures(1), prompt=tags)).message) < 300


def test_the_same_order_has_the_same_digest_and_another_has_another() -> None:
    base = {"seconds": 5, "size": "720p", "user": "u", "metadata": {"a": "1", "b": "2"}}
    same = {**base, "metadata": {"b": "2", "a": "1"}}
    assert digest(base) == digest(same)
    others: list[dict[str, Any]] = [
        {"seconds": 6},
        {"size": "1280x720"},
        {"aspect_ratio": "1:1"},
        {"user": None},
        {"metadata": {"a": "1"}},
        {"prompt": "another"},
        {"image": picture(1)},
        {"image": picture(2)},
        {"images": pictures(1)},
        {"images": pictures(2)},
    ]
    digests = [digest({**base, **other}) for other in others]
    assert len({digest(base), *digests}) == len(others) + 1


def digest(fields: dict[str, Any]) -> str:
    return check(draft(**fields), SPEC).digest()


_WORDS = st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["720p", "16:9", "auto"]))


@given(
    prompt=st.one_of(st.none(), st.text(max_size=20)),
    size=_WORDS,
    aspect_ratio=_WORDS,
    operation=st.one_of(st.none(), st.sampled_from([*Operation]), st.text(max_size=5)),
    seconds=st.one_of(st.none(), st.integers(-3, 20)),
    input_video_seconds=st.one_of(st.none(), st.integers(-3, 20)),
    image=st.booleans(),
    images=st.one_of(st.none(), st.integers(0, 9)),
    video=st.one_of(st.none(), st.integers(0, 20_000)),
)
def test_any_draft_is_an_order_within_the_limits_or_a_refusal(
    image: bool, images: int | None, video: int | None, **fields: Any
) -> None:
    asked = draft(
        **fields,
        image=picture() if image else None,
        images=None if images is None else pictures(images),
        video=None if video is None else clip(video),
    )
    try:
        order = check(asked, SPEC)
    except Refusal as refusal:
        assert refusal.param  # noqa: PT017 # either way out is right
    else:
        assert_within_limits(order)


def assert_within_limits(order: Order) -> None:
    row = SPEC.operations[order.operation]
    assert (order.seconds is None) == (row.seconds is None)
    assert order.seconds is None or row.seconds is None or order.seconds in row.seconds
    assert order.tier in {None, *SPEC.tiers}
    assert order.aspect_ratio in {None, *row.aspect_ratios}
    assert (order.video is not None) == (row.source_ms is not None)
    assert len(order.images) in (row.images or range(1))
