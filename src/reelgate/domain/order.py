"""What was asked for: the caller's words as a `Draft`, and the checked, frozen `Order`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reelgate.domain.model import Operation

_canonical_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A picture's or clip's measured geometry; `duration_ms` is 0 for a picture."""

    width: int
    height: int
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One input picture or clip. Exactly one of `url`, `sha256` (bytes we keep), `task_id`.

    `key` is where the bytes lie in the media store; a `task_id` input points at the result of
    that task. `mime`, `bytes` and `facts` are known when the bytes are ours.
    """

    url: str | None = None
    sha256: str | None = None
    task_id: str | None = None
    key: str | None = None
    mime: str | None = None
    bytes: int | None = None
    facts: SourceFacts | None = None

    def identity(self) -> str:
        """What makes two inputs the same input, however they were sent."""
        return self.url or self.task_id or f"sha256:{self.sha256}"


@dataclass(slots=True)
class MediaDraft:
    """One input as the caller gave it: a link, a task id, or bytes (upload or data URI).

    `param` is the field it came in, for messages. The submit flow fills what follows `data` from
    the bytes themselves; nothing declared is trusted.
    """

    param: str
    url: str | None = None
    task_id: str | None = None
    data: bytes | None = None
    sha256: str | None = None
    key: str | None = None
    mime: str | None = None
    bytes: int | None = None
    facts: SourceFacts | None = None


@dataclass(slots=True)
class Draft:
    """A create request with its names resolved and its types right, but nothing checked yet.

    `seconds_param` is the name the caller used (`duration` or `seconds`), for messages. `broken`
    names the fields that were given but could not be read.
    """

    model: str
    prompt: str | None = None
    image: MediaDraft | None = None
    images: list[MediaDraft] | None = None
    video: MediaDraft | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    seconds: int | None = None
    seconds_param: str = "duration"
    operation: str | None = None
    input_video_seconds: int | None = None
    user: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    remixed_from: str | None = None
    broken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request, frozen into its task.

    `tier` and `aspect_ratio` are None where the source decides them. `size` is the form the
    caller used (`720p` or `1280x720`), None when none was given. `seconds` is the length to
    make: all of it, or for an extension the added part; None for an edit.
    """

    model: str
    operation: Operation
    prompt: str
    seconds: int | None = None
    tier: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    images: tuple[MediaInput, ...] = ()
    video: MediaInput | None = None
    input_video_seconds: int | None = None
    user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    remixed_from: str | None = None

    def digest(self) -> str:
        """The same for every encoding of one request; the idempotency hash."""
        canonical: list[Any] = [
            self.model,
            self.operation.value,
            self.prompt,
            self.seconds,
            self.tier,
            self.size,
            self.aspect_ratio,
            [image.identity() for image in self.images],
            self.video.identity() if self.video else None,
            self.input_video_seconds,
            self.user,
            sorted(self.metadata.items()),
        ]
        text = _canonical_json(canonical).encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()
