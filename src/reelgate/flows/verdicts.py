"""What an upstream's verdict is called in the answer to the task's owner."""

from reelgate.domain.errors import TaskError
from reelgate.providers.base import Verdict

# A provider bounds its own calls; this bounds a provider.
CALL_MS_MAX = 180_000
CANCEL_MS_MAX = 30_000

ERROR_OF: dict[Verdict, TaskError] = {
    Verdict.FAILED: TaskError.TASK_FAILED,
    Verdict.MODERATED: TaskError.CONTENT_POLICY_VIOLATION,
    Verdict.INVALID_INPUT: TaskError.INVALID_INPUT,
    Verdict.INPUT_UNREACHABLE: TaskError.INPUT_UNREACHABLE,
    Verdict.EXPIRED: TaskError.EXPIRED,
    Verdict.CANCELLED: TaskError.CANCELLED,
}
