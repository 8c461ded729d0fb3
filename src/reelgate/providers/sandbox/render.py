"""The truthful double: a real film for each of the five operations, made on this machine."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reelgate.domain.model import Operation
from reelgate.providers.sandbox.effects import Look, chosen
from reelgate.providers.sandbox.encode import write_mp4
from reelgate.providers.sandbox.motion import (
    Continuation,
    Footage,
    Motion,
    Orbs,
    Tiles,
    pan_and_zoom,
)
from reelgate.providers.sandbox.overlay import Overlay
from reelgate.providers.sandbox.planes import Planes
from reelgate.providers.sandbox.scene import FPS, PICTURES_MAX, BadInput, Scene, part_path
from reelgate.providers.sandbox.sound import RATE, Samples, chord, fitted
from reelgate.providers.sandbox.sources import Clip, load_picture

# How much of the height the prompt may take: less where given pictures are to be seen.
_PROMPT_SHARE = 0.42
_PROMPT_SHARE_OVER_PICTURES = 0.2


@dataclass(frozen=True, slots=True)
class Film:
    """A scene worked out: everything that the encoder needs."""

    size: tuple[int, int]
    frames: int
    motion: Motion
    overlay: Overlay
    sound: Samples

    def paint(self, canvas: Planes, frame: int) -> None:
        self.motion.paint(canvas, frame)
        self.overlay.paint(canvas, frame)


def render(scene: Scene, out: Path, progress: Callable[[int], None] | None = None) -> None:
    """Film a scene into `out`, an MP4 that is there whole or not at all.

    `progress` is called with rising whole percents, 100 once the file is there. Blocks for
    about a tenth of the film's length. Raises BadInput for a scene or file that can't be
    filmed, OSError when the result can't be written.
    """
    part = part_path(out)
    tell = _only_rises(progress)
    try:
        film = _FILMS[scene.operation](scene)
        write_mp4(part, film.size, film.frames, film.paint, film.sound, tell)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    tell(100)


def _from_text(scene: Scene) -> Film:
    size, seed = scene.size(), _seed(scene)
    overlay = Overlay(scene.prompt, *size, _PROMPT_SHARE)
    return _new_film(scene, Orbs(seed, *size), overlay)


def _from_image(scene: Scene) -> Film:
    size = scene.size()
    if len(scene.images) != 1:
        raise BadInput(f"{scene.operation} needs one image, not {len(scene.images)}")
    image = load_picture(scene.images[0], *size)
    motion = pan_and_zoom(image, *size, scene.length_s() * FPS)
    return _new_film(scene, motion, Overlay(scene.prompt, *size, _PROMPT_SHARE_OVER_PICTURES))


def _from_references(scene: Scene) -> Film:
    size = scene.size()
    if not 1 <= len(scene.images) <= PICTURES_MAX:
        raise BadInput(f"{scene.operation} needs 1 to {PICTURES_MAX} images")
    overlay = Overlay(scene.prompt, *size, _PROMPT_SHARE_OVER_PICTURES)
    images = [load_picture(path, *size) for path in scene.images]
    rows = (overlay.clear_top, overlay.clear_bottom)
    return _new_film(scene, Tiles(_seed(scene), images, size, rows), overlay)


def _edit(scene: Scene) -> Film:
    clip = Clip.open(scene.source())
    size = scene.size_like(clip.width, clip.height)
    effects = chosen(scene.prompt)
    pictures = clip.pictures(*size, speed=min(effect.speed for effect in effects))
    samples = clip.frames * RATE // FPS
    sound = clip.sound()
    return Film(
        size=size,
        frames=clip.frames,
        motion=Footage(pictures, Look(effects)),
        overlay=Overlay(scene.prompt, *size, _PROMPT_SHARE_OVER_PICTURES, covering=True),
        sound=chord(_seed(scene), samples) if sound is None else fitted(sound, samples),
    )


def _extend(scene: Scene) -> Film:
    clip = Clip.open(scene.source())
    size, seed = scene.size_like(clip.width, clip.height), _seed(scene)
    frames = clip.frames + scene.length_s() * FPS
    before = clip.frames * RATE // FPS
    sound = clip.sound()
    heard = chord(seed, before) if sound is None else fitted(sound, before)
    return Film(
        size=size,
        frames=frames,
        motion=Continuation(clip.pictures(*size), clip.frames, frames, seed),
        overlay=Overlay(scene.prompt, *size, _PROMPT_SHARE_OVER_PICTURES, covering=True),
        sound=np.concatenate((heard, chord(seed, frames * RATE // FPS - before)), axis=1),
    )


_FILMS: Mapping[Operation, Callable[[Scene], Film]] = {
    Operation.TEXT_TO_VIDEO: _from_text,
    Operation.IMAGE_TO_VIDEO: _from_image,
    Operation.REFERENCE_TO_VIDEO: _from_references,
    Operation.EDIT_VIDEO: _edit,
    Operation.VIDEO_EXTEND: _extend,
}


def _new_film(scene: Scene, motion: Motion, overlay: Overlay) -> Film:
    seconds = scene.length_s()
    sound = chord(_seed(scene), seconds * RATE)
    return Film(scene.size(), seconds * FPS, motion, overlay, sound)


def _seed(scene: Scene) -> bytes:
    """What colours, places and tones are chosen by."""
    return hashlib.sha256(scene.prompt.encode("utf-8", "replace")).digest()


def _only_rises(progress: Callable[[int], None] | None) -> Callable[[int], None]:
    """Tells each percent once."""
    told = -1

    def tell(percent: int) -> None:
        nonlocal told
        if progress is not None and percent > told:
            told = percent
            progress(percent)

    return tell
