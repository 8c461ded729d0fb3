"""Starts `reelgate serve` processes quickly: everything is imported once, then forked.

Run as `python -m tests.support.zygote`. One JSON object per line: an order comes in on stdin, its
answer goes out on stdout. What it has started ends with it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

from reelgate.cli import main as run_command_line

# What a server imports: here, so that no child has to.
SERVER = "reelgate.cli.serve"


def main() -> None:
    """Serve orders until stdin ends."""
    importlib.import_module(SERVER)
    running: set[int] = set()
    try:
        for line in sys.stdin:
            order = json.loads(line)
            answer = {"start": _start, "poll": _poll}[order["do"]](order, running)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)


def _start(order: dict[str, Any], running: set[int]) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        _become(order)
    running.add(pid)
    return {"pid": pid}


def _poll(order: dict[str, Any], running: set[int]) -> dict[str, Any]:
    """`code` is None while the process lives; negative: the signal that ended it."""
    pid, status = os.waitpid(order["pid"], os.WNOHANG)
    if pid == 0:
        return {"code": None}
    running.discard(pid)
    return {"code": os.waitstatus_to_exitcode(status)}


def _become(order: dict[str, Any]) -> None:
    """Never returns."""
    code = 70
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(order["folder"])
        os.environ.update(order["env"])
        run_command_line(order["args"])
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 0
    except BaseException:  # noqa: BLE001 - it ends here, and the log says how
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
