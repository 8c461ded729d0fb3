"""The servers that speak OpenAI's Videos API, and where each departs from it: rows of data.

Sources: SGLang 0.5.23 and vLLM-Omni 0.30.0 as published, run or read on 2026-11-22; new-api's
repository; LiteLLM 1.109.1 as run; OpenAI's own API (closed on 2026-09-24) by its last SDKs; our
own contract. OpenAI's shape has no answer for a second image or for a picture's link in a form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reelgate.domain.model import Operation

DialectName = Literal["openai", "sglang", "vllm-omni", "new-api", "litellm", "reelgate"]


@dataclass(frozen=True, slots=True)
class Call:
    """Where an operation is sent, its plain fields, and how its one input goes along.

    Bytes are uploaded as the file part `file`. A link goes into the field `link`, as the object
    `{link_key: URL}` in JSON where `link_key` is set; with `link` None it is fetched and uploaded.
    """

    path: str
    fields: tuple[str, ...]
    file: str | None = None
    link: str | None = None
    link_key: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One row. `json` None: multipart with `calls` as they stand; else our contract's objects.

    `size` is what the field of that name means there; `reports_link`: a finished job may lie in a
    cloud store, named by `url`, and `/content` refuses it; `checks_model`: the model must be one
    of those listed; `bills`: the answer says in `billing.cost` what the job cost.
    """

    calls: Mapping[Operation, Call]
    as_json: bool = False
    size: Literal["pixels", "tier"] = "pixels"
    reports_link: bool = False
    checks_model: bool = True
    repeat_safe: bool = False
    can_cancel: bool = False
    bills: bool = False


_CREATE = "/v1/videos"
_PLAIN = ("model", "prompt", "seconds", "size")
_OURS = (*_PLAIN, "aspect_ratio", "operation", "user")


def _pictures(link: str | None, link_key: str | None = None) -> Mapping[Operation, Call]:
    """The two operations that every server has, and how it takes the picture of the second."""
    return {
        Operation.TEXT_TO_VIDEO: Call(_CREATE, _PLAIN),
        Operation.IMAGE_TO_VIDEO: Call(_CREATE, _PLAIN, "input_reference", link, link_key),
    }


DIALECTS: Mapping[DialectName, Dialect] = {
    # The SDKs write an object as bracketed names; edits and extensions take files only.
    "openai": Dialect(
        calls={
            **_pictures("input_reference[image_url]"),
            Operation.EDIT_VIDEO: Call("/v1/videos/edits", ("model", "prompt"), "video"),
            Operation.VIDEO_EXTEND: Call(
                "/v1/videos/extensions", ("model", "prompt", "seconds"), "video"
            ),
        }
    ),
    # Its JSON `input_reference` would be a path on the server; any model name is taken.
    "sglang": Dialect(calls=_pictures("reference_url"), reports_link=True, checks_model=False),
    "vllm-omni": Dialect(calls=_pictures("image_reference", "image_url")),
    "new-api": Dialect(calls=_pictures("input_reference")),
    # Its SDK sends a link as if it were the file's content.
    "litellm": Dialect(calls=_pictures(None)),
    # JSON, because a form can't say in which order links and files of `images` stand.
    "reelgate": Dialect(
        calls={
            Operation.TEXT_TO_VIDEO: Call(_CREATE, _OURS),
            Operation.IMAGE_TO_VIDEO: Call(_CREATE, (*_OURS, "image")),
            Operation.REFERENCE_TO_VIDEO: Call(_CREATE, (*_OURS, "images")),
            Operation.EDIT_VIDEO: Call(_CREATE, (*_OURS, "video")),
            Operation.VIDEO_EXTEND: Call(
                _CREATE, ("model", "prompt", "seconds", "operation", "user", "video")
            ),
        },
        as_json=True,
        size="tier",
        repeat_safe=True,
        can_cancel=True,
        bills=True,
    ),
}
