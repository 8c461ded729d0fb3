"""Servers of this process's own that answer while the test itself waits for other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

from tests.fakes.wire import Wire

STOP_S = 10


@contextmanager
def answering(*servers: Wire) -> Iterator[None]:
    """Have these answer on a thread for the time of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fakes")
    thread.start()
    stack = AsyncExitStack()

    async def enter() -> None:
        for server in servers:
            await stack.enter_async_context(server)

    try:
        asyncio.run_coroutine_threadsafe(enter(), loop).result(STOP_S)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_S)
        loop.close()
