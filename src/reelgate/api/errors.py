"""Every refusal as an HTTP answer: one table, one shape (contract, section 5)."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.responses import Response

from reelgate.domain.errors import Code, Refusal, StorageFull, StoreUnavailable
from reelgate.domain.examples import example
from reelgate.domain.model import Operation
from reelgate.domain.quoting import quoted
from reelgate.store.database import CommitUnknown


@dataclass(frozen=True, slots=True)
class Kind:
    """How a code is answered: HTTP status, `error.type`, and the headers that go with it.

    `type` fits the status: LiteLLM chooses its exception class by it. `x-should-retry` overrules
    the retries that both OpenAI SDKs make by themselves on 408, 409, 429 and 5xx; they obey a
    `retry-after` of at most 120 s.
    """

    status: int
    type: str
    headers: Mapping[str, str] = field(default_factory=dict)


_INVALID = Kind(400, "invalid_request_error")
_NOT_FOUND = Kind(404, "not_found_error")
_GONE = Kind(410, "not_found_error")
_NO_FUNDS = Kind(402, "insufficient_quota")
_CONFLICT = Kind(409, "conflict_error", {"x-should-retry": "false"})

KINDS: Mapping[Code, Kind] = {
    Code.MISSING_REQUIRED_PARAMETER: _INVALID,
    Code.INVALID_VALUE: _INVALID,
    Code.UNKNOWN_PARAMETER: _INVALID,
    Code.CONFLICTING_PARAMETERS: _INVALID,
    Code.UNSUPPORTED_PARAMETER: _INVALID,
    Code.INVALID_JSON: _INVALID,
    Code.WRONG_ENDPOINT: _INVALID,
    Code.INVALID_API_KEY: Kind(401, "authentication_error", {"www-authenticate": "Bearer"}),
    Code.INSUFFICIENT_BALANCE: _NO_FUNDS,
    Code.SPEND_LIMIT_EXCEEDED: _NO_FUNDS,
    Code.MODEL_NOT_ALLOWED: Kind(403, "permission_error"),
    Code.TASK_NOT_FOUND: _NOT_FOUND,
    Code.MODEL_NOT_FOUND: _NOT_FOUND,
    Code.VIDEO_NOT_READY: _NOT_FOUND,
    Code.ROUTE_NOT_FOUND: _NOT_FOUND,
    Code.METHOD_NOT_ALLOWED: Kind(405, "invalid_request_error"),
    Code.REQUEST_TOO_LARGE: Kind(413, "invalid_request_error"),
    Code.UNSUPPORTED_MEDIA_TYPE: Kind(415, "invalid_request_error"),
    Code.IDEMPOTENCY_IN_PROGRESS: Kind(
        409, "conflict_error", {"retry-after": "1", "x-should-retry": "true"}
    ),
    Code.NOT_CANCELLABLE: _CONFLICT,
    Code.VIDEO_EXPIRED: _GONE,
    Code.VIDEO_DELETED: _GONE,
    Code.IDEMPOTENCY_KEY_REUSED: Kind(422, "invalid_request_error"),
    Code.RATE_LIMIT_EXCEEDED: Kind(429, "rate_limit_error", {"retry-after": "1"}),
    Code.INTERNAL_ERROR: Kind(500, "server_error"),
    Code.UNAVAILABLE: Kind(503, "server_error", {"retry-after": "2"}),
    # Room is made by a person, not within the seconds that an SDK would wait.
    Code.STORAGE_FULL: Kind(507, "server_error", {"x-should-retry": "false"}),
    Code.ACCOUNT_NOT_FOUND: _NOT_FOUND,
    Code.KEY_NOT_FOUND: _NOT_FOUND,
    Code.UPSTREAM_NOT_FOUND: _NOT_FOUND,
    Code.NAME_TAKEN: _CONFLICT,
    Code.NOT_RESOLVABLE: _CONFLICT,
    Code.REFERENCE_REUSED: Kind(422, "invalid_request_error"),
}


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong: for people (`message`) and for programs (`code`, `type`, `param`)."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """The body of every error answer, ours and the framework's alike."""

    error: ErrorBody


# After these a request may safely be sent again: it left nothing behind.
_NOTHING_HAPPENED = (Refusal, StorageFull, StoreUnavailable)


def error_response(exc: Exception, request_id: str, *, task_may_exist: bool = False) -> Response:
    """Any exception as an answer; what is not ours says nothing of itself.

    `task_may_exist`: unless the error itself says that nothing happened, tell a client that
    creates not to send its request again by itself.
    """
    refusal = _refusal(exc, request_id)
    kind = KINDS[refusal.code]
    headers = {**kind.headers, **refusal.headers, "x-request-id": request_id}
    if (task_may_exist and not isinstance(exc, _NOTHING_HAPPENED)) or isinstance(
        exc, CommitUnknown
    ):
        headers["x-should-retry"] = "false"
    body = _encode(ErrorBody(refusal.message, kind.type, refusal.param, refusal.code.value))
    return Response(body, kind.status, headers, "application/json")


def _refusal(exc: Exception, request_id: str) -> Refusal:
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, StorageFull):
        return Refusal(
            Code.STORAGE_FULL,
            "The gateway has no room to store this request durably. Nothing was created or "
            "charged; try again later.",
        )
    if isinstance(exc, CommitUnknown):
        return Refusal(
            Code.UNAVAILABLE,
            "The gateway lost its storage while it stored this request, so the task may exist. "
            "Look for it with GET /v1/videos, or repeat the request with its Idempotency-Key.",
        )
    if isinstance(exc, StoreUnavailable):
        return Refusal(
            Code.UNAVAILABLE,
            "The gateway can't reach its storage at the moment. Nothing was created or charged; "
            "try again in a few seconds.",
        )
    return Refusal(
        Code.INTERNAL_ERROR,
        f"Something went wrong inside the gateway. Tell its operator the request id {request_id}.",
    )


def _encode(error: ErrorBody) -> bytes:
    try:
        return msgspec.json.encode(ErrorEnvelope(error))
    except UnicodeEncodeError:
        # Half a surrogate pair in something that the message quotes: an error must still go out.
        shown = error.message.encode("utf-8", "backslashreplace").decode("utf-8")
        return msgspec.json.encode(ErrorEnvelope(ErrorBody(shown, error.type, None, error.code)))


# ---- what is not there, or elsewhere ------------------------------------------------------

_PATH_CHARS_SHOWN = 100
_PROMPT_CHARS_SHOWN = 200
_TASK_SEGMENT = re.compile(r"/(task_|video_)[^/]*")


def route_not_found(method: str, path: str, routes: Iterable[str]) -> Refusal:
    """404 that names the routes nearest to the path; `routes` are path templates."""
    wanted = _TASK_SEGMENT.sub("/{task_id}", path[:_PATH_CHARS_SHOWN]).rstrip("/")
    near = difflib.get_close_matches(wanted, dict.fromkeys(routes), n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else "See /docs for the routes there are."
    return Refusal(
        Code.ROUTE_NOT_FOUND, f"There is no route {method} {path[:_PATH_CHARS_SHOWN]}. {hint}"
    )


def method_not_allowed(method: str, path: str, allowed: Iterable[str]) -> Refusal:
    """405 with `Allow`."""
    methods = ", ".join(sorted(allowed))
    return Refusal(
        Code.METHOD_NOT_ALLOWED,
        f"{path[:_PATH_CHARS_SHOWN]} does not take {method}; it takes {methods}.",
        headers={"allow": methods},
    )


def model_not_found(name: str, models: Iterable[str]) -> Refusal:
    """404 that lists what there is."""
    return Refusal(
        Code.MODEL_NOT_FOUND,
        f"There is no model {quoted(name)}. Available: {', '.join(models)}.",
        "model",
    )


def image_endpoint(path: str, fields: Mapping[str, Any], models: Iterable[str]) -> Refusal:
    """What an image route answers: the same request as it should be sent to `/v1/videos`."""
    known = list(models)
    given = fields.get("model")
    if isinstance(given, str) and given not in known:
        return model_not_found(given, known)
    model = given if isinstance(given, str) else known[0]
    has_picture = any(name.startswith("image") for name in fields)
    operation = Operation.IMAGE_TO_VIDEO if has_picture else Operation.TEXT_TO_VIDEO
    body = json.loads(example(operation, model))
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and len(prompt) <= _PROMPT_CHARS_SHOWN:
        body["prompt"] = prompt
    return Refusal(
        Code.WRONG_ENDPOINT,
        f"{model} makes videos, and {path} is for pictures. Send it to POST /v1/videos: "
        f"{json.dumps(body, ensure_ascii=False)}",
        "model",
    )
