"""Labelled places where a test may kill the process, around every commit, call and rename.

Nothing happens at them unless one is armed (setting `crash_at`, for tests only). The labels are
rows here so that a test can walk all of them.
"""

import os
import signal

CRASH_POINTS = (
    "submit.before_inputs",
    "submit.before_commit",
    "submit.after_commit",
    "input.before_rename",
    "input.after_rename",
    "worker.after_register_commit",
    "claim.after_commit",
    "send.after_measure_commit",
    "send.before_sending_commit",
    "send.after_sending_commit",
    "send.after_upstream_accepted",
    "send.after_running_commit",
    "send.after_queued_commit",
    "send.after_stranded_commit",
    "poll.after_answer",
    "poll.after_progress_commit",
    "poll.after_collecting_commit",
    "collect.after_download",
    "collect.before_rename",
    "collect.after_rename",
    "settle.before_commit",
    "settle.after_commit",
    "cancel.after_upstream_stopped",
    "delete.after_hide_commit",
    "delete.after_bytes",
    "sweep.before_purge",
    "sweep.after_purge",
)

_armed: dict[str, int] = {}


def arm(label: str) -> None:
    """Die (SIGKILL) when `label` is reached; `label:3` means the third time. For tests.

    Raises ValueError for a label that does not exist.
    """
    name, _, count = label.partition(":")
    if name not in CRASH_POINTS:
        raise ValueError(f"{name!r} is not a crash point; there are {', '.join(CRASH_POINTS)}")
    _armed[name] = int(count or 1)


def crash_point(label: str) -> None:
    """Die here if this label is armed."""
    if not _armed:
        return
    left = _armed.get(label)
    if left is None:
        return
    if left <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _armed[label] = left - 1
