"""The moving pictures: each paints frame after frame into the encoder's own memory."""

import colorsys
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from reelgate.providers.sandbox.effects import Look
from reelgate.providers.sandbox.lettering import Lettering
from reelgate.providers.sandbox.planes import Planes, Stamp, from_image
from reelgate.providers.sandbox.scene import FPS

_ORBS = 6
_TILE_RATIO = 4 / 3  # the shape of picture that a grid is laid out for


class Motion(Protocol):
    """Something that moves."""

    def paint(self, canvas: Planes, frame: int) -> None:
        """Paint this frame. Called with 0, 1, 2, … in order, once each."""


class Backdrop:
    """A wide gradient in the seed's colours that drifts by and never ends."""

    def __init__(self, seed: bytes, width: int, height: int) -> None:
        x = np.arange(width, dtype=np.float32) * (2 * math.pi / width)
        y = np.arange(height, dtype=np.float32)[:, None] * (2 * math.pi / height)
        shift = seed[2] / 40
        waves = np.sin(x + 0.9 * np.sin(y * 0.5 + shift)) + 0.5 * np.sin(2 * x - y * 0.7 + shift)
        shades = Image.fromarray(np.uint8((waves + 1.5) * (255 / 3)))
        shades.putpalette([channel for colour in _ramp(seed) for channel in colour])
        once = from_image(shades.convert("RGB"))
        self._twice = Planes(*(np.concatenate((plane, plane), axis=1) for plane in once))
        self._step = max(2, width // 320 * 2)  # even pixels, about six seconds a round

    def paint(self, canvas: Planes, frame: int) -> None:
        left = frame * self._step % canvas.width
        for plane, wide, half in zip(canvas, self._twice, (1, 2, 2), strict=True):
            plane[:] = wide[:, left // half : left // half + plane.shape[1]]


class Orbs:
    """A backdrop with soft discs of light that circle before it, each at its own pace."""

    def __init__(self, seed: bytes, width: int, height: int) -> None:
        self._backdrop = Backdrop(seed, width, height)
        short = min(width, height)
        hue = seed[0] / 255
        self._discs = [
            (_disc(round(short * (0.1 + seed[8 + n] / 1500)), hue + seed[16 + n] / 600), seed[n])
            for n in range(_ORBS)
        ]

    def paint(self, canvas: Planes, frame: int) -> None:
        self._backdrop.paint(canvas, frame)
        for number, (disc, phase) in enumerate(self._discs):
            angle = frame / FPS * (0.35 + 0.11 * number) + phase / 40
            x = canvas.width * (0.5 + 0.44 * math.sin(angle))
            y = canvas.height * (0.45 + 0.34 * math.cos(angle * 1.3 + number))
            disc.onto(canvas, round(x) - disc.width // 2, round(y) - disc.height // 2)


class View(NamedTuple):
    """What a camera sees of a picture, in its pixels."""

    left: float
    top: float
    width: float
    height: float

    def towards(self, other: "View", share: float) -> "View":
        """The view this share of the way to another."""
        return View(*(a + (b - a) * share for a, b in zip(self, other, strict=True)))


class Camera:
    """A slow move over one picture, gently started and ended."""

    def __init__(self, picture: Planes, start: View, end: View, frames: int) -> None:
        self._planes = [Image.fromarray(plane) for plane in picture]
        self._start, self._end = start, end
        self._frames = frames

    def paint(self, canvas: Planes, frame: int) -> None:
        share = frame / max(1, self._frames - 1)
        view = self._start.towards(self._end, share * share * (3 - 2 * share))
        for plane, image, half in zip(canvas, self._planes, (1, 2, 2), strict=True):
            # Rounding must not put an edge outside the picture: Pillow refuses that.
            right = min((view.left + view.width) / half, image.width)
            bottom = min((view.top + view.height) / half, image.height)
            box = (max(0.0, view.left / half), max(0.0, view.top / half), right, bottom)
            size = (plane.shape[1], plane.shape[0])
            plane[:] = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))


def pan_and_zoom(image: Image.Image, width: int, height: int, frames: int) -> Camera:
    """A move over a given picture that fills the frame: along its longer side, and closer."""
    picture = from_image(image.crop((0, 0, image.width & ~1 or 2, image.height & ~1 or 2)))
    fit = min(picture.width / width, picture.height / height)
    near = 1 / 1.14
    full = (width * fit, height * fit)
    start = View(0, 0, *full)
    end = View(
        picture.width - full[0] * (1 + near) / 2,
        picture.height - full[1] * (1 + near) / 2,
        full[0] * near,
        full[1] * near,
    )
    return Camera(picture, start, end, frames)


def drift_in(picture: Planes, seed: bytes, frames: int) -> Camera:
    """A move into a picture, from all of it, towards a point that the seed chooses."""
    near = 0.72
    room = ((1 - near) * picture.width, (1 - near) * picture.height)
    towards = (0.3 + seed[3] / 640, 0.3 + seed[4] / 640)
    end = View(
        room[0] * towards[0], room[1] * towards[1], picture.width * near, picture.height * near
    )
    return Camera(picture, View(0, 0, picture.width, picture.height), end, frames)


class Tiles:
    """Every given picture at once, whole and numbered, afloat between two rows of pixels."""

    def __init__(
        self,
        seed: bytes,
        images: Sequence[Image.Image],
        size: tuple[int, int],
        rows: tuple[int, int],
    ) -> None:
        (width, height), (top, bottom) = size, rows
        self._backdrop = Backdrop(seed, width, height)
        columns, cell_width, cell_height = _grid(len(images), width, bottom - top)
        self._sway = max(2, round(min(cell_width, cell_height) * 0.02))
        gap = self._sway + 4
        self._tiles: list[tuple[Stamp, int, int]] = []
        for number, image in enumerate(images):
            row, column = divmod(number, columns)
            in_row = min(columns, len(images) - row * columns)  # the last row is centred
            room = (round(cell_width) - 2 * gap, round(cell_height) - 2 * gap)
            tile = Stamp.of(_framed(image, room, f"@Image{number + 1}"))
            middle_x = width / 2 + (column - (in_row - 1) / 2) * cell_width
            middle_y = top + (row + 0.5) * cell_height
            left, upper = middle_x - tile.width / 2, middle_y - tile.height / 2
            self._tiles.append((tile, round(left), round(upper)))

    def paint(self, canvas: Planes, frame: int) -> None:
        self._backdrop.paint(canvas, frame)
        for number, (tile, left, top) in enumerate(self._tiles):
            angle = frame / FPS * 1.6 + number * 1.1
            tile.onto(
                canvas,
                left + round(self._sway * math.cos(angle)),
                top + round(self._sway * math.sin(angle)),
            )


class Footage:
    """A clip's pictures, each in one look."""

    def __init__(self, pictures: Iterator[Planes], look: Look) -> None:
        self._pictures = pictures
        self._look = look

    def paint(self, canvas: Planes, frame: int) -> None:
        canvas.take(self._look.of(next(self._pictures)))


class Continuation:
    """A clip's pictures as they are, then a move into the last of them."""

    def __init__(
        self, pictures: Iterator[Planes], source_frames: int, frames: int, seed: bytes
    ) -> None:
        self._pictures = pictures
        self._source_frames = source_frames
        self._added = frames - source_frames
        self._seed = seed
        self._camera: Camera | None = None

    def paint(self, canvas: Planes, frame: int) -> None:
        if frame < self._source_frames:
            picture = next(self._pictures)
            canvas.take(picture)
            if frame == self._source_frames - 1:
                self._camera = drift_in(picture.copy(), self._seed, self._added)
        elif self._camera is not None:
            self._camera.paint(canvas, frame - self._source_frames)


def _ramp(seed: bytes) -> list[tuple[int, int, int]]:
    """256 colours from deep to light; never black, so that the first frame is a picture."""
    hue, swing = seed[0] / 255, 0.12 + seed[1] / 1100
    return [_rgb(hue + swing * n / 255, 0.78 - 0.3 * n / 255, 0.34 + 0.5 * n / 255)
            for n in range(256)]  # fmt: skip


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _disc(radius: int, hue: float) -> Stamp:
    side = radius * 2 + radius // 2
    mask = Image.new("L", (side, side))
    inset = radius // 4
    ImageDraw.Draw(mask).ellipse((inset, inset, side - inset, side - inset), fill=150)
    image = Image.new("RGBA", (side, side), (*_rgb(hue, 0.45, 0.98), 255))
    image.putalpha(mask.filter(ImageFilter.GaussianBlur(radius / 24)))
    return Stamp.of(image)


def _grid(count: int, width: int, height: int) -> tuple[int, float, float]:
    """Columns, and the cell's size, that show this many pictures biggest."""

    def shown(columns: int) -> float:
        return min(width / columns / _TILE_RATIO, height / math.ceil(count / columns))

    columns = max(range(1, count + 1), key=shown)
    return columns, width / columns, height / math.ceil(count / columns)


def _framed(image: Image.Image, room: tuple[int, int], name: str) -> Image.Image:
    """A picture in a white frame with its name below it, no bigger than the room for it."""
    edge = max(2, min(room) // 50)
    letters = Lettering(min(room) // 12)
    foot = letters.line_px + edge
    inner = (max(2, room[0] - 2 * edge), max(2, room[1] - edge - foot))
    picture = ImageOps.contain(image, inner, Image.Resampling.BICUBIC)
    size = (picture.width + 2 * edge, picture.height + edge + foot)
    framed = Image.new("RGBA", size, (250, 250, 247, 255))
    framed.paste(picture, (edge, edge))
    middle = (size[0] - letters.width(name)) / 2
    letters.draw(ImageDraw.Draw(framed), middle, picture.height + 1.5 * edge, name, "#222228")
    return framed
