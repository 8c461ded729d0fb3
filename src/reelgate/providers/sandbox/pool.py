"""Renders in child processes, so that the event loop of this one never waits for a picture."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reelgate.domain.errors import ReelgateError
from reelgate.providers.sandbox.protocol import encode_job
from reelgate.providers.sandbox.scene import BadInput, Scene, part_path

# -P: what happens to lie in the working directory is not imported.
_CHILD = ("-P", "-m", "reelgate.providers.sandbox.worker_main")
_RENDER_S_MAX = 300
_STOP_S_MAX = 2


class RenderFailed(ReelgateError):
    """The renderer broke down over a film; another try may do better. Not for customers."""


class RenderPool:
    """A few child processes that render; each is started when first needed and then kept.

    Children run at a low priority. One that crashes, hangs or is no longer waited for is
    replaced when the next film comes.
    """

    def __init__(self, children: int = 1, *, render_s_max: float = _RENDER_S_MAX) -> None:
        self._children = [_Child() for _ in range(children)]
        self._free: asyncio.Queue[_Child] = asyncio.Queue()
        for child in self._children:
            self._free.put_nowait(child)
        self._render_s_max = render_s_max
        self._closed = False

    async def render(
        self, scene: Scene, out: Path, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Film a scene into `out`, waiting for a free child first.

        `on_progress` is called with rising whole percents. Cancelling stops the work and leaves
        no file. Raises BadInput for a scene that can't be filmed, RenderFailed when the child
        broke down, took longer than allowed, or the pool is closed.
        """
        child = await self._free.get()
        try:
            if self._closed:
                raise RenderFailed("the renderer is closed")
            async with asyncio.timeout(self._render_s_max):
                await child.render(scene, out, on_progress or _ignore)
        except TimeoutError as error:
            raise RenderFailed(f"no film after {self._render_s_max} seconds") from error
        finally:
            self._free.put_nowait(child)

    async def close(self) -> None:
        """End all children; films in the making fail. Safe to call again."""
        self._closed = True
        await asyncio.gather(*(child.stop() for child in self._children))


class _Child:
    """One child process, if it runs."""

    def __init__(self) -> None:
        self._process: Process | None = None

    async def render(self, scene: Scene, out: Path, on_progress: Callable[[int], None]) -> None:
        try:
            answer = await self._ask(encode_job(scene, out), on_progress)
        except BaseException:
            # Also when cancelled: what it is doing now is not wanted any more.
            await self.stop(at_once=True)
            part_path(out).unlink(missing_ok=True)
            raise
        if "bad_input" in answer:
            raise BadInput(answer["bad_input"])
        if "failed" in answer:
            raise RenderFailed(answer["failed"])

    async def _ask(self, job: bytes, on_progress: Callable[[int], None]) -> dict[str, Any]:
        process = await self._running()
        assert process.stdin and process.stdout  # both are pipes
        try:
            process.stdin.write(job)
            await process.stdin.drain()
            while line := await process.stdout.readline():
                answer: dict[str, Any] = json.loads(line)
                if "progress" not in answer:
                    return answer
                on_progress(answer["progress"])
        except (OSError, ValueError) as error:
            raise RenderFailed(f"the renderer can't be talked to: {error}") from error
        raise RenderFailed(f"the renderer ended with code {await process.wait()}")

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *_CHILD, stdin=PIPE, stdout=PIPE
            )
        return self._process

    async def stop(self, *, at_once: bool = False) -> None:
        """End the process and wait until it is gone; politely first unless `at_once`."""
        process, self._process = self._process, None
        if process is None:
            return
        if not at_once and process.stdin:
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_S_MAX)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _ignore(_: int) -> None:
    pass
