"""The renderer's own process: `python -m reelgate.providers.sandbox.worker_main`.

It ends when its stdin does: with whoever started it, even in the middle of a film, whose
unfinished file it takes along. What is said is in protocol.py.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av.logging

from reelgate.providers.sandbox.protocol import decode_job, encode
from reelgate.providers.sandbox.render import render
from reelgate.providers.sandbox.scene import BadInput, Scene, part_path

_NICENESS = 10

Job = tuple[Scene, Path]
Reply = Callable[[dict[str, Any]], None]


def main() -> None:
    """Render what comes in on stdin until it ends."""
    # The terminal's Ctrl-C and a service manager's SIGTERM reach the whole group; whether a
    # film is still wanted is for the parent to say, by closing stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(_NICENESS)
    av.logging.set_level(None)
    reply = _own_stdout()
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    making: list[Path] = []
    threading.Thread(target=_read_jobs, args=(jobs, making), daemon=True).start()
    while True:
        scene, out = jobs.get()
        making[:] = [part_path(out)]
        reply(_film(scene, out, reply))
        making.clear()


def _own_stdout() -> Reply:
    """Replies go to a stdout of their own, which no library can write into."""
    stdout = os.dup(1)
    os.dup2(2, 1)

    def reply(message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens: stdin ends too
            os.write(stdout, encode(message))

    return reply


def _film(scene: Scene, out: Path, reply: Reply) -> dict[str, Any]:
    try:
        render(scene, out, lambda percent: reply({"progress": percent}))
    except BadInput as error:
        return {"bad_input": str(error)}
    except Exception as error:  # noqa: BLE001 # whatever it is, it ends one film and no more
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"done": True}


def _read_jobs(jobs: queue.SimpleQueue[Job], making: list[Path]) -> None:
    try:
        for line in sys.stdin.buffer:
            jobs.put(decode_job(line))
    finally:
        for part in making:
            part.unlink(missing_ok=True)
        os._exit(0)


if __name__ == "__main__":
    main()
