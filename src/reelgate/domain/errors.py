"""The error tree of the product.

ReelgateError
├── Refusal            an API request that can't be served as asked; carries a contract code
├── OperatorError      a set-up that can't work; one clear line, shown at start or by the CLI
├── StoreError         the database or the media store failed
│   ├── StorageFull        no room to make something durable
│   ├── StoreUnavailable   can't be reached or is overloaded; nothing was written
│   │   └── CommitUnknown      it broke during COMMIT: it may have happened (store/database.py)
│   └── ConstraintBroken   a statement against the schema (store/database.py)
├── NetError           an outgoing request that failed; drawn in net/errors.py
├── BadMedia           bytes that are not the media they should be (media/facts.py)
└── the sandbox's own  BadInput, BadScript, BadRecord, … (providers/sandbox/)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """Every `error.code` of an HTTP answer: contract, section 5, then the operator's routes."""

    MISSING_REQUIRED_PARAMETER = "missing_required_parameter"
    INVALID_VALUE = "invalid_value"
    UNKNOWN_PARAMETER = "unknown_parameter"
    CONFLICTING_PARAMETERS = "conflicting_parameters"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    INVALID_JSON = "invalid_json"
    WRONG_ENDPOINT = "wrong_endpoint"
    INVALID_API_KEY = "invalid_api_key"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    SPEND_LIMIT_EXCEEDED = "spend_limit_exceeded"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    TASK_NOT_FOUND = "task_not_found"
    MODEL_NOT_FOUND = "model_not_found"
    VIDEO_NOT_READY = "video_not_ready"
    ROUTE_NOT_FOUND = "route_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TOO_LARGE = "request_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    NOT_CANCELLABLE = "not_cancellable"
    VIDEO_EXPIRED = "video_expired"
    VIDEO_DELETED = "video_deleted"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    INTERNAL_ERROR = "internal_error"
    UNAVAILABLE = "unavailable"
    STORAGE_FULL = "storage_full"
    ACCOUNT_NOT_FOUND = "account_not_found"
    KEY_NOT_FOUND = "key_not_found"
    UPSTREAM_NOT_FOUND = "upstream_not_found"
    NAME_TAKEN = "name_taken"
    NOT_RESOLVABLE = "not_resolvable"
    REFERENCE_REUSED = "reference_reused"


class TaskError(StrEnum):
    """Every `error.code` of a task that ended badly (contract, section 4)."""

    TASK_FAILED = "task_failed"
    CONTENT_POLICY_VIOLATION = "content_policy_violation"
    INVALID_INPUT = "invalid_input"
    INPUT_UNREACHABLE = "input_unreachable"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    OUTCOME_UNKNOWN = "outcome_unknown"


# Enough to mend a request; nobody reads an answer of ten thousand.
PROBLEMS_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request: what was given, what is allowed, and where."""

    code: Code
    param: str | None
    message: str


class ReelgateError(Exception):
    """Anything this product raises on purpose."""


class Refusal(ReelgateError):
    """An API request that can't be served as asked.

    `headers` are extra answer headers, such as `retry-after`.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, problems: list[Problem]) -> "Refusal":
        """One refusal that lists every problem; code and param are those of the first."""
        first = problems[0]
        if len(problems) == 1:
            return cls(first.code, first.message, first.param)
        shown = problems[:PROBLEMS_SHOWN_MAX]
        lines = " ".join(f"({n}) {p.message}" for n, p in enumerate(shown, 1))
        return cls(first.code, f"{len(problems)} problems: {lines}", first.param)


@dataclass(eq=False)
class OperatorError(ReelgateError):
    """A set-up that can't work, in one line that names what to change."""

    message: str
    exit_code: int = field(default=2)

    def __str__(self) -> str:
        return self.message


class StoreError(ReelgateError):
    """The database or the media store failed; the transaction did not happen."""


class StorageFull(StoreError):
    """No room to make something durable."""


class StoreUnavailable(StoreError):
    """Can't be reached or is overloaded; nothing was written."""
