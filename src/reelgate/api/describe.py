"""The words in which the route table describes a route: what `/openapi.json` and `/docs` are of.

Only what can't be read elsewhere is written here. Limits come from the catalogue, shapes from the
types that are encoded, statuses from `errors.KINDS`, what a code means from `meanings.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from reelgate.api.fields import Preset
from reelgate.domain.errors import Code

JSON = "application/json"
MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
EVENT_STREAM = "text/event-stream"

Schema = Mapping[str, Any]


class Tag(StrEnum):
    """What a route is about; the order is that of the reference."""

    VIDEOS = "Videos"
    RESULTS = "Results"
    MODELS = "Models and prices"
    ACCOUNT = "Your account"
    COMPATIBLE = "Compatible paths"
    OPERATIONS = "Operations"
    ADMIN = "Administration"


TAGS: Mapping[Tag, str] = {
    Tag.VIDEOS: "Create tasks, look at them, wait for them, stop them.",
    Tag.RESULTS: "The finished video, and pictures of it.",
    Tag.MODELS: "What can be made, within which limits, at which price.",
    Tag.ACCOUNT: "What there is to spend, and what it was spent on.",
    Tag.COMPATIBLE: "Other names and shapes of the same calls, for clients that already have them.",
    Tag.OPERATIONS: "For whoever runs the gateway. Public.",
    Tag.ADMIN: "For whoever runs the gateway, with an admin key.",
}


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter, or a header of a request where `place` says so."""

    name: str
    about: str
    schema: Schema
    place: Literal["query", "header"] = "query"


class Fields:
    """Any object: a body that is only looked at to say where it belongs."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a write route reads: a create request, or an object of a msgspec type, and how."""

    of: Preset | type[Any]
    media: tuple[str, ...] = (JSON, MULTIPART, URLENCODED)
    required: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """One way in which a route answers well: JSON of a type, or else bytes of one of `media`."""

    about: str
    type: Any = None
    status: int = 200
    media: tuple[str, ...] = (JSON,)
    headers: tuple[str, ...] = ()


class Access(StrEnum):
    """What opens a route; the values are the names of the security schemes."""

    KEY = "apiKey"
    LINK = "signedLink"
    ADMIN_KEY = "adminKey"


@dataclass(frozen=True, slots=True)
class Doc:
    """What the reference says of a route. `codes` are those of its own.

    Those of every route, of every route with a key and of every body are added by themselves.
    `access`, where given, are the ways in; otherwise it is a key, or nothing for a public route.
    Every GET route answers HEAD; `head` says that it is worth telling.
    """

    summary: str
    tag: Tag
    replies: tuple[Reply, ...]
    about: str = ""
    params: tuple[Param, ...] = ()
    body: Body | None = None
    codes: tuple[Code, ...] = ()
    access: tuple[Access, ...] = ()
    head: bool = False


PATH_PARAMS: Mapping[str, Param] = {
    "task_id": Param("task_id", "The task's `id`.", {"type": "string"}),
    "model": Param("model", "The model's `id`.", {"type": "string"}),
    "account_id": Param("account_id", "The account's `id`.", {"type": "string"}),
    "key_id": Param("key_id", "The key's `id`.", {"type": "string"}),
    "name": Param("name", "The upstream's name in the settings.", {"type": "string"}),
}

# ---- headers ------------------------------------------------------------------------------

_DIGITS = {"type": "string", "pattern": "^[0-9]+$"}
_YES_NO = {"type": "string", "enum": ["true", "false"]}
_ANY_TEXT = {"type": "string"}

HEADERS: Mapping[str, tuple[str, Schema]] = {
    "x-request-id": (
        "This request's id: give it to the operator when something went wrong.",
        {"type": "string", "pattern": "^req_[0-9a-f]{24}$"},
    ),
    "openai-poll-after-ms": ("While unfinished: milliseconds until it pays to ask again.", _DIGITS),
    "retry-after": ("Seconds until it pays to ask again; at most 120.", _DIGITS),
    "x-should-retry": ("Whether an SDK should send the same request again by itself.", _YES_NO),
    "x-ratelimit-limit-requests": ("With a limited key: requests per second.", _DIGITS),
    "x-ratelimit-remaining-requests": ("With a limited key: how many are left now.", _DIGITS),
    "x-ratelimit-reset-requests": (
        "With a limited key: when all are there again, as in `250ms`.",
        {"type": "string", "pattern": "^[0-9]+ms$"},
    ),
    "ratelimit-policy": ("The same limit, as the IETF's draft writes it.", _ANY_TEXT),
    "ratelimit": ("What is left of it, as the IETF's draft writes it.", _ANY_TEXT),
    "idempotent-replayed": (
        "`true` when an earlier, equal request made this task: nothing new was made or held.",
        {"type": "string", "enum": ["true"]},
    ),
    "www-authenticate": ("How to authenticate.", {"type": "string", "enum": ["Bearer"]}),
    "etag": ("The version of the bytes, for `If-None-Match` and `If-Range`.", _ANY_TEXT),
    "accept-ranges": ("`bytes`: one range may be asked for.", {"enum": ["bytes"]}),
    "content-range": ("Which bytes of how many these are.", _ANY_TEXT),
    "content-disposition": ("A name for the file.", _ANY_TEXT),
    "cache-control": ("Who may keep the answer, and for how long.", _ANY_TEXT),
}

# What a key with a request rate is told with every answer.
RATE_HEADERS = tuple(name for name in HEADERS if "ratelimit" in name)

IDEMPOTENCY_KEY = Param(
    "Idempotency-Key",
    "Any text of your own, one per order. The same key with the same order gives the first task "
    "again (kept for 7 days); with another order it is refused.",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "header",
)
PREFER = Param(
    "Prefer",
    "`wait=N` holds the answer until the task ends, at most N seconds (and at most what the "
    "operator allows, 60 unless changed).",
    {"type": "string", "examples": ["wait=30"]},
    "header",
)
RANGE = Param(
    "Range",
    "One range of bytes, such as `bytes=0-1023`; several get the whole.",
    {"type": "string", "examples": ["bytes=0-1023"]},
    "header",
)
IF_RANGE = Param("If-Range", "Heed `Range` only for this `ETag`.", _ANY_TEXT, "header")
IF_NONE_MATCH = Param(
    "If-None-Match", "Answer 304 if the bytes still have this `ETag`.", _ANY_TEXT, "header"
)
LAST_EVENT_ID = Param(
    "Last-Event-ID",
    "The `id` of the last event seen: only what is newer is told.",
    _ANY_TEXT,
    "header",
)
