"""What the exit code of every command means.

| code | means |
|---|---|
| 0 | done |
| 1 | the task failed, or `doctor` or `check` found something wrong |
| 2 | wrong usage, wrong settings, or a request that the gateway refuses as it is |
| 3 | no such task, account, key, upstream or model |
| 4 | the gateway, the database or the disk can't be reached or is overloaded |
| 5 | the balance does not cover it |
| 70 | a bug in reelgate |
| 130 | interrupted (Ctrl-C); a task that was created lives on |
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """See the table above."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    INSUFFICIENT_BALANCE = 5
    BUG = 70
    INTERRUPTED = 130
