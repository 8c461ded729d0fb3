"""Thumbnail and spritesheet: made from the stored video when first asked for, then kept.

They never delay or fail a task, and a lost one is simply made again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.task import Task
from reelgate.flows.gateway import Gateway
from reelgate.media.facts import BadMedia
from reelgate.media.thumbnails import spritesheet, thumbnail

# Decoding is heavy: on a small machine two at a time leave room for what earns money.
_MAKING_MAX = 2


@dataclass(frozen=True, slots=True)
class Picture:
    """A kind of picture of a video: how it is called, kept and made."""

    variant: str
    suffix: str
    mime: str
    make: Callable[[Path], bytes]


PICTURES: dict[str, Picture] = {
    picture.variant: picture
    for picture in (
        Picture("thumbnail", ".webp", "image/webp", thumbnail),
        Picture("spritesheet", ".jpg", "image/jpeg", spritesheet),
    )
}


class PictureMaker:
    """Finds or makes pictures; the same one asked for at once by many is made once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._places = asyncio.Semaphore(_MAKING_MAX)
        self._making: dict[str, asyncio.Task[bytes]] = {}

    async def get(self, task: Task, picture: Picture) -> bytes:
        """The picture's bytes. Raises Refusal (`video_not_ready`) when it can't be made."""
        assert task.result is not None
        key = key_of(task.result.key, picture)
        if await self._gateway.media.size(key) is not None:
            return await self._gateway.media.read(key)
        making = self._making.get(key)
        if making is None:
            making = asyncio.create_task(self._make(task.result.key, key, picture))
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key, None))
        try:
            return await asyncio.shield(making)
        except BadMedia as error:
            raise Refusal(
                Code.VIDEO_NOT_READY, f"No {picture.variant} can be made of this video: {error}."
            ) from error

    async def _make(self, video_key: str, key: str, picture: Picture) -> bytes:
        async with self._places:
            data = await asyncio.to_thread(picture.make, self._gateway.media.path(video_key))
            await self._gateway.media.put(key, data)
            return data


def key_of(video_key: str, picture: Picture) -> str:
    """Where a picture is kept: beside its video."""
    return video_key.removesuffix(".mp4") + picture.suffix


async def remove_all(gateway: Gateway, video_key: str) -> None:
    """Remove a video with all its pictures."""
    await gateway.media.delete(video_key)
    for picture in PICTURES.values():
        await gateway.media.delete(key_of(video_key, picture))
