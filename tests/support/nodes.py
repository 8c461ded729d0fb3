"""Several real processes on one installation: started, killed, stopped and let go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.live import QUICK, START_TIMEOUT_S, STOP_TIMEOUT_S

_READY = "reelgate is ready: "
_WORKING = "worker started"


@dataclass
class Node:
    """One `reelgate serve`; `url` is empty for one that is only a worker."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def said(self) -> str:
        """All that it has logged."""
        return self.log.read_text("utf-8")

    def kill(self) -> None:
        """End it at this very moment."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Let it stand still, as a machine does that swaps or is being moved."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to stop in order; its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_S)


@dataclass
class Nodes:
    """The processes of one installation in one folder."""

    folder: Path
    env: Mapping[str, str]
    all: list[Node] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("REELGATE_", "XAI_"))}
        data = {"REELGATE_DATA_DIR": str(self.folder / "data")}
        return {**clean, **QUICK, **data, **self.env, **more}

    def start(self, role: str = "all", **more: str) -> Node:
        """One more process, when it is at work."""
        log = self.folder / f"node-{len(self.all)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "reelgate", "serve", "--role", role],
                cwd=self.folder,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        node = Node(process, log)
        self.all.append(node)
        until(lambda: self._is_up(node, role), START_TIMEOUT_S)
        return node

    def _is_up(self, node: Node, role: str) -> bool:
        said = node.said()
        if node.process.poll() is not None:
            raise AssertionError(f"the node ended by itself:\n{said}")
        urls = [line for line in said.splitlines() if line.startswith(_READY)]
        if urls:
            node.url = urls[0].removeprefix(_READY)
        return (role == "worker" or bool(urls)) and (role == "api" or _WORKING in said)


def until(done: Callable[[], bool], timeout_s: float) -> None:
    """Wait for something outside this process that can't tell us."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout_s:g} s")
        time.sleep(0.02)


@contextlib.contextmanager
def installation(folder: Path, **env: str) -> Iterator[Nodes]:
    """An installation whose processes all end with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = Nodes(folder, env)
    try:
        yield nodes
    finally:
        for node in nodes.all:
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait()
