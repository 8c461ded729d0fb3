"""Which part of this process is ready, and which is not."""

import asyncio
from dataclasses import dataclass

from reelgate.domain.errors import StoreError
from reelgate.flows.gateway import Gateway
from reelgate.store import world

_DATABASE_ANSWER_S = 5


@dataclass(slots=True)
class Health:
    """What `readyz` says of each part."""

    gateway: Gateway
    worker_wanted: bool
    worker_task: "asyncio.Task[None] | None" = None

    async def __call__(self) -> dict[str, str]:
        parts = {"database": await self._database(), "media": await self._media()}
        if self.worker_wanted:
            running = self.worker_task is not None and not self.worker_task.done()
            parts["worker"] = "ok" if running else "not running"
        return parts

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(_DATABASE_ANSWER_S):
                await self.gateway.db.read(world.answers)
        except (StoreError, TimeoutError):
            return "the database does not answer"
        return "ok"

    async def _media(self) -> str:
        return await self.gateway.media.check() or "ok"
