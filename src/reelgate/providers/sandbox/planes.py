"""Pictures as the encoder takes them: 8-bit 4:2:0 planes, BT.709, limited range.

Everything is painted straight into these planes, so that no frame is converted twice.
Positions and sizes are even: one chroma sample covers two by two pixels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.uint8]
Wide = NDArray[np.uint16]

RGB = tuple[int, int, int]


class Planes(NamedTuple):
    """Luma, and blue and red difference at half its width and height."""

    luma: Plane
    blue: Plane
    red: Plane

    @property
    def width(self) -> int:
        return int(self.luma.shape[1])

    @property
    def height(self) -> int:
        return int(self.luma.shape[0])

    def take(self, other: "Planes") -> None:
        """Become a copy of another picture of the same size."""
        for mine, theirs in zip(self, other, strict=True):
            mine[:] = theirs

    def copy(self) -> "Planes":
        return Planes(*(np.ascontiguousarray(plane).copy() for plane in self))


def frame_planes(frame: av.VideoFrame) -> Planes:
    """A yuv420p frame's own memory, not a copy: painting here paints the frame."""
    sizes = ((frame.height, frame.width), *[(frame.height // 2, frame.width // 2)] * 2)
    return Planes(
        *(
            np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:rows, :columns]
            for plane, (rows, columns) in zip(frame.planes, sizes, strict=True)
        )
    )


def from_frame(frame: av.VideoFrame, width: int, height: int) -> Planes:
    """A decoded frame of any format, scaled to an even size and brought to our colours."""
    return frame_planes(
        frame.reformat(
            width,
            height,
            "yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
    )


def from_image(image: Image.Image) -> Planes:
    """A PIL picture of even size; transparency is ignored."""
    frame = av.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
    return from_frame(frame, image.width, image.height)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A small picture with transparency, multiplied out once and blended many times."""

    width: int
    height: int
    parts: tuple[tuple[Wide, Wide], ...]  # per plane: colour times opacity; what shows through

    @classmethod
    def of(cls, image: Image.Image) -> "Stamp":
        """From an RGBA picture; odd sides lose their last pixel."""
        width, height = image.width & ~1, image.height & ~1
        image = image.crop((0, 0, width, height))
        alpha = np.asarray(image.getchannel("A"), np.uint16)
        opacity = alpha + (alpha >> 7)  # 0..256, so that blending can shift instead of divide
        corners = opacity.reshape(height // 2, 2, width // 2, 2)
        thin = corners.sum(axis=(1, 3), dtype=np.uint16) >> 2
        colours = from_image(image)
        return cls(
            width,
            height,
            tuple(
                (plane * shown, 256 - shown)
                for plane, shown in zip(colours, (opacity, thin, thin), strict=True)
            ),
        )

    def onto(self, canvas: Planes, left: int, top: int) -> None:
        """Blend at this place, made even; what lies outside the canvas is cut off."""
        left, top = left & ~1, top & ~1
        x0, x1 = max(left, 0), min(left + self.width, canvas.width)
        y0, y1 = max(top, 0), min(top + self.height, canvas.height)
        if x0 >= x1 or y0 >= y1:
            return
        for plane, (colour, through), half in zip(canvas, self.parts, (1, 2, 2), strict=True):
            under = plane[y0 // half : y1 // half, x0 // half : x1 // half]
            mine = np.s_[
                (y0 - top) // half : (y1 - top) // half, (x0 - left) // half : (x1 - left) // half
            ]
            mixed = under * through[mine]
            mixed += colour[mine]
            mixed >>= 8
            under[...] = mixed
