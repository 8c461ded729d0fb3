"""What the reference says of each route; `routes.py` says which route is which."""

from reelgate.api import content, metrics, ops, videos, wire
from reelgate.api.describe import (
    EVENT_STREAM,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    IF_RANGE,
    LAST_EVENT_ID,
    PREFER,
    RANGE,
    Access,
    Body,
    Doc,
    Fields,
    Param,
    Reply,
    Tag,
)
from reelgate.api.errors import ErrorEnvelope
from reelgate.api.fields import CREATE, Preset
from reelgate.api.model_cards import ModelCard, ModelList, Pricing
from reelgate.api.paging import AFTER, LIMIT, ORDER
from reelgate.domain.errors import Code
from reelgate.domain.model import Operation

# ---- what several routes say --------------------------------------------------------------

_PENDING = ("openai-poll-after-ms", "retry-after")
_DOCUMENT = ("etag", "cache-control")
_FILE = ("etag", "accept-ranges", "content-disposition", "cache-control")
# The id stands for whichever task the path names.
_REMIX = Preset(operation=Operation.EDIT_VIDEO, source_task_id="")

_ORDER_CODES = (
    Code.UNSUPPORTED_PARAMETER,
    Code.MODEL_NOT_FOUND,
    Code.MODEL_NOT_ALLOWED,
    Code.TASK_NOT_FOUND,
    Code.VIDEO_NOT_READY,
    Code.VIDEO_EXPIRED,
    Code.VIDEO_DELETED,
)
_CREATE_CODES = (
    *_ORDER_CODES,
    Code.INSUFFICIENT_BALANCE,
    Code.SPEND_LIMIT_EXCEEDED,
    Code.IDEMPOTENCY_IN_PROGRESS,
    Code.IDEMPOTENCY_KEY_REUSED,
    Code.STORAGE_FULL,
)
_MADE = Reply(
    "The task. It and its hold are on disk; its `id` can be read at once.",
    wire.Video,
    headers=("x-should-retry", "idempotent-replayed", *_PENDING),
)


def _creates(summary: str, about: str, preset: Preset = CREATE, tag: Tag = Tag.COMPATIBLE) -> Doc:
    """A route that makes a task."""
    return Doc(
        summary,
        tag,
        (_MADE,),
        about,
        params=(IDEMPOTENCY_KEY, PREFER),
        body=Body(preset),
        codes=_CREATE_CODES,
    )


def _reads(tag: Tag, about: str) -> Doc:
    """A route that shows a task."""
    return Doc(
        "Get a video task",
        tag,
        (Reply("The task now.", wire.Video, headers=_PENDING),),
        about,
        params=(PREFER,),
        codes=(Code.TASK_NOT_FOUND,),
    )


# ---- videos -------------------------------------------------------------------------------

CREATE_VIDEO = _creates(
    "Create a video task",
    "Answers within milliseconds, before any upstream is asked. The highest cost is held from the "
    "balance; what was delivered is charged at the end, and a task that fails costs nothing. "
    "Which of the five operations it is follows from the inputs.",
    tag=Tag.VIDEOS,
)
GET_VIDEO = _reads(
    Tag.VIDEOS,
    "Ask again after `openai-poll-after-ms`, or let `Prefer: wait` hold the answer.",
)
ESTIMATE = Doc(
    "Price a request without making anything",
    Tag.VIDEOS,
    (Reply("What the request would hold, item by item.", wire.Estimate),),
    "The same checks, the same line items, nothing made and nothing held.",
    body=Body(CREATE),
    codes=_ORDER_CODES,
)
LIST = Doc(
    "List video tasks",
    Tag.VIDEOS,
    (Reply("One page.", wire.VideoPage),),
    "Pages stay right while tasks are being added. Deleted tasks are left out.",
    params=(AFTER, LIMIT, ORDER),
    codes=(Code.INVALID_VALUE,),
)
DELETE = Doc(
    "Delete a finished task",
    Tag.VIDEOS,
    (Reply("It is gone from the list, and its bytes from the disk.", wire.VideoDeleted),),
    "A task that is still running is refused: cancel it.",
    codes=(Code.TASK_NOT_FOUND, Code.NOT_CANCELLABLE),
)
CANCEL = Doc(
    "Cancel a task",
    Tag.VIDEOS,
    (Reply("The cancelled task: `failed`, with the error code `cancelled`.", wire.Video),),
    "Free while `queued`; later only where the upstream stops its job. A cancelled task costs "
    "nothing.",
    codes=(Code.TASK_NOT_FOUND, Code.NOT_CANCELLABLE),
)
EVENTS = Doc(
    "Follow a task as it happens",
    Tag.VIDEOS,
    (
        Reply("Events until the task ends.", media=(EVENT_STREAM,), headers=("cache-control",)),
        Reply(
            "Its end was seen: nothing more will come.",
            status=204,
            media=(),
            headers=("cache-control",),
        ),
    ),
    "Server-sent events: `event` is the status, `data` the task as JSON, `id` its revision. Begins "
    "with the task as it is.",
    params=(LAST_EVENT_ID,),
    codes=(Code.TASK_NOT_FOUND,),
)
CONTENT = Doc(
    "Download the video",
    Tag.RESULTS,
    (
        Reply("All of it.", media=("video/mp4", "image/webp", "image/jpeg"), headers=_FILE),
        Reply(
            "The range that was asked for.",
            status=206,
            media=("video/mp4", "image/webp", "image/jpeg"),
            headers=(*_FILE, "content-range"),
        ),
        Reply("It has not changed.", status=304, media=(), headers=_FILE),
        Reply(
            "The range begins behind the end.",
            ErrorEnvelope,
            status=416,
            headers=(*_FILE, "content-range"),
        ),
    ),
    "With a key, or with the signed link in `metadata.url` of a completed task, which needs none "
    "until `expires_at`.",
    params=(
        Param(
            "variant",
            "The video as MP4, a picture of it as WebP, or a sheet of pictures as JPEG.",
            {"type": "string", "enum": list(content.VARIANTS), "default": content.VARIANTS[0]},
        ),
        Param("expires", "Part of a signed link.", {"type": "string"}),
        Param("sig", "Part of a signed link.", {"type": "string"}),
        RANGE,
        IF_RANGE,
        IF_NONE_MATCH,
    ),
    codes=(
        Code.INVALID_VALUE,
        Code.INVALID_API_KEY,
        Code.TASK_NOT_FOUND,
        Code.VIDEO_NOT_READY,
        Code.VIDEO_EXPIRED,
        Code.VIDEO_DELETED,
        Code.STORAGE_FULL,
    ),
    access=(Access.KEY, Access.LINK),
    head=True,
)

# ---- compatible paths ---------------------------------------------------------------------

SAME_CREATE = _creates("Create a video task", "The same as `POST /v1/videos`.")
SAME_READ = _reads(Tag.COMPATIBLE, "The same as `GET /v1/videos/{task_id}`.")
EDIT = _creates("Edit a video", "OpenAI's shape of the operation `edit_video`.", videos.EDIT)
EXTEND = _creates(
    "Extend a video", "OpenAI's shape of the operation `video_extend`.", videos.EXTEND
)
REMIX = _creates("Remix a video", "OpenAI's shape of `edit_video` of an earlier result.", _REMIX)
WRONG_ENDPOINT = Doc(
    "Refused: no pictures here",
    Tag.COMPATIBLE,
    (),
    "The models here make videos. Whatever is sent is refused, with the JSON to send to "
    "`POST /v1/videos` instead.",
    body=Body(Fields),
    codes=(Code.WRONG_ENDPOINT, Code.MODEL_NOT_FOUND),
)

# ---- models, operations -------------------------------------------------------------------

MODELS = Doc(
    "List models",
    Tag.MODELS,
    (Reply("Every model, with its operations, limits and prices.", ModelList),),
)
MODEL = Doc(
    "Get a model", Tag.MODELS, (Reply("One model.", ModelCard),), codes=(Code.MODEL_NOT_FOUND,)
)
PRICING = Doc(
    "Get the price table", Tag.MODELS, (Reply("Prices in force, in USD.", Pricing),), "Public."
)
HEALTHZ = Doc("Is the process alive?", Tag.OPERATIONS, (Reply("It answers.", ops.Alive),))
READYZ = Doc(
    "Is every part ready?",
    Tag.OPERATIONS,
    (Reply("Every part is.", ops.Ready), Reply("Not every part is.", ops.Ready, 503)),
    "Says which part is not, and why.",
)
METRICS = Doc(
    "Figures for Prometheus",
    Tag.OPERATIONS,
    (Reply("Every metric.", media=(metrics.MEDIA_TYPE,)),),
    "Requests, tasks, upstreams, the database's queue, room for videos. "
    "docs/reference/metrics.md lists them.",
)
OPENAPI = Doc(
    "This API for programs",
    Tag.OPERATIONS,
    (
        Reply("OpenAPI 3.1, with the models and prices in force.", Fields, headers=_DOCUMENT),
        Reply("It has not changed.", status=304, media=(), headers=_DOCUMENT),
    ),
    params=(IF_NONE_MATCH,),
)
DOCS = Doc(
    "This page",
    Tag.OPERATIONS,
    (
        Reply("The reference for people.", media=("text/html; charset=utf-8",), headers=_DOCUMENT),
        Reply("It has not changed.", status=304, media=(), headers=_DOCUMENT),
    ),
    params=(IF_NONE_MATCH,),
)
