"""What every error code means and what to do about it, in words; the table of the reference.

A code's HTTP status, type and headers are in `errors.KINDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reelgate.domain.errors import Code, TaskError


@dataclass(frozen=True, slots=True)
class Meaning:
    """For whoever gets the code: what happened, and what helps."""

    what: str
    remedy: str


CODES: Mapping[Code, Meaning] = {
    Code.MISSING_REQUIRED_PARAMETER: Meaning(
        "A field that is needed was not given.", "Add the field that `param` names."
    ),
    Code.INVALID_VALUE: Meaning(
        "A value can't be used: its type, form or range is wrong.",
        "The message says what was given and what is allowed.",
    ),
    Code.UNKNOWN_PARAMETER: Meaning(
        "A field has no meaning here.", "The message names the nearest known one."
    ),
    Code.CONFLICTING_PARAMETERS: Meaning(
        "Two fields can't go together, or say the same thing differently.", "Send one of them."
    ),
    Code.UNSUPPORTED_PARAMETER: Meaning(
        "The operation does not take this field.",
        "Leave it out, or ask for the operation that takes it.",
    ),
    Code.INVALID_JSON: Meaning(
        "The body is not one JSON object.", "The message says where it breaks."
    ),
    Code.WRONG_ENDPOINT: Meaning(
        "A video model was sent to a picture endpoint.",
        "Send the JSON that the message shows to `POST /v1/videos`.",
    ),
    Code.INVALID_API_KEY: Meaning(
        "The key is absent, malformed, unknown, revoked or expired.",
        "Send `Authorization: Bearer sk-…` with a key that works.",
    ),
    Code.INSUFFICIENT_BALANCE: Meaning(
        "The account has less than the task can cost.",
        "Add credit, or ask for less; the message says what is needed and what there is.",
    ),
    Code.SPEND_LIMIT_EXCEEDED: Meaning(
        "The key would spend more than it may.", "Wait for the next period, or raise the limit."
    ),
    Code.MODEL_NOT_ALLOWED: Meaning(
        "The key may not use this model.", "Use one that the message names, or another key."
    ),
    Code.TASK_NOT_FOUND: Meaning(
        "This account has no such task.", "Check the id and the account that the key belongs to."
    ),
    Code.MODEL_NOT_FOUND: Meaning("There is no such model.", "Use one that the message lists."),
    Code.VIDEO_NOT_READY: Meaning(
        "The task has no video yet, or failed and has none.",
        "Poll the task until it is `completed`.",
    ),
    Code.ROUTE_NOT_FOUND: Meaning("There is no such path.", "The message names the nearest."),
    Code.METHOD_NOT_ALLOWED: Meaning(
        "The path does not take this method.", "Use one that `Allow` lists."
    ),
    Code.REQUEST_TOO_LARGE: Meaning(
        "The body, a file in it or a number of parts is over a limit.",
        "Send media as links, or smaller.",
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: Meaning(
        "The body's Content-Type is not taken, or it is compressed.",
        "Send JSON or a form, uncompressed.",
    ),
    Code.IDEMPOTENCY_IN_PROGRESS: Meaning(
        "An equal request with this Idempotency-Key is being worked on.", "Send it again shortly."
    ),
    Code.NOT_CANCELLABLE: Meaning(
        "The task can't be stopped (or deleted) any more, or not yet.",
        "Let it end; the message says what it is doing.",
    ),
    Code.VIDEO_EXPIRED: Meaning(
        "The video was kept until `expires_at` and is gone.", "Make it again; download it in time."
    ),
    Code.VIDEO_DELETED: Meaning("The video was deleted by its owner.", "Make it again."),
    Code.IDEMPOTENCY_KEY_REUSED: Meaning(
        "This Idempotency-Key was used for another request.", "Send a new key for a new request."
    ),
    Code.RATE_LIMIT_EXCEEDED: Meaning(
        "The key asks too often, or has too many tasks in flight.",
        "Wait as long as `retry-after` says.",
    ),
    Code.INTERNAL_ERROR: Meaning(
        "A bug in the gateway.", "Tell its operator the `x-request-id` of the answer."
    ),
    Code.UNAVAILABLE: Meaning(
        "The gateway can't do this at the moment; nothing was made or charged.",
        "Send it again in a few seconds.",
    ),
    Code.STORAGE_FULL: Meaning(
        "There is no room to keep the request durably; nothing was made or charged.",
        "Tell the operator.",
    ),
    Code.ACCOUNT_NOT_FOUND: Meaning("There is no such account.", "Look it up in the list."),
    Code.KEY_NOT_FOUND: Meaning("There is no such key.", "Look it up in the list."),
    Code.UPSTREAM_NOT_FOUND: Meaning("No upstream has this name.", "Look it up in the list."),
    Code.NAME_TAKEN: Meaning("Another account has this name.", "Choose another."),
    Code.NOT_RESOLVABLE: Meaning(
        "The task is not stranded, so there is nothing to decide.", "Look at its state."
    ),
    Code.REFERENCE_REUSED: Meaning(
        "This reference was credited before, with another amount.",
        "Look at the ledger; use a new reference for new money.",
    ),
}

TASK_ERRORS: Mapping[TaskError, Meaning] = {
    TaskError.TASK_FAILED: Meaning(
        "The upstream could not make it.", "Read the message; send it again if it may help."
    ),
    TaskError.CONTENT_POLICY_VIOLATION: Meaning(
        "The upstream's moderation blocked the prompt, an input or the result.",
        "Change them. The same request will be blocked again.",
    ),
    TaskError.INVALID_INPUT: Meaning(
        "An input is not what the operation takes: length, format, size.",
        "The message says what was found.",
    ),
    TaskError.INPUT_UNREACHABLE: Meaning(
        "A link of yours could not be fetched.", "Make it public, or upload the file."
    ),
    TaskError.INSUFFICIENT_BALANCE: Meaning(
        "The source turned out longer or larger than was held for, and the rest is not there.",
        "Add credit, or say `input_video_seconds` truthfully and check the estimate.",
    ),
    TaskError.UPSTREAM_UNAVAILABLE: Meaning(
        "No upstream would take it in time.", "Send it again later."
    ),
    TaskError.EXPIRED: Meaning(
        "It was not finished by its deadline.", "Send it again as a new task."
    ),
    TaskError.CANCELLED: Meaning("It was cancelled.", "Nothing to do."),
    TaskError.OUTCOME_UNKNOWN: Meaning(
        "The connection broke while it was being sent, and its result is lost.",
        "Send it again as a new task.",
    ),
}
