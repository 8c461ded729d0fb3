"""Writes the MP4: H.264 and AAC, 24 frames a second, playable while it still loads."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from reelgate.providers.sandbox.planes import Planes, frame_planes
from reelgate.providers.sandbox.scene import FPS
from reelgate.providers.sandbox.sound import RATE, Samples

NOTE = "Rendered by the Reelgate sandbox: no video model was involved"
_AAC_FRAME = 1024
_AUDIO_BITS_PER_SECOND = 96_000
# Fastest that still looks clean; a key frame every two seconds makes seeking quick.
_X264 = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "g": str(2 * FPS)}
# Whole frames at a time, next to the painting of the following one. Fixed, like everything
# here: the same scene gives the same bytes on any number of cores.
_X264_THREADS = 2
_X264_THREAD_TYPE = "FRAME"


def write_mp4(
    path: Path,
    size: tuple[int, int],
    frames: int,
    paint: Callable[[Planes, int], None],
    sound: Samples,
    progress: Callable[[int], None],
) -> None:
    """Encode this many frames and as much sound, calling `progress` with whole percents.

    `paint` is called for every frame in order with planes that may hold anything.
    """
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = NOTE
        video = container.add_stream("libx264", rate=FPS, options=_X264)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.thread_count = _X264_THREADS
        context.thread_type = _X264_THREAD_TYPE
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        audio = container.add_stream("aac", rate=RATE, layout="stereo")
        audio.bit_rate = _AUDIO_BITS_PER_SECOND

        written = 0
        for number in range(frames):
            # Sound goes in beside the pictures it belongs to: a player needs both at once.
            while written < sound.shape[1] and written * FPS <= number * RATE:
                container.mux(audio.encode(_audio_frame(sound, written)))
                written += _AAC_FRAME
            frame = av.VideoFrame(*size, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            paint(frame_planes(frame), number)
            container.mux(video.encode(frame))
            progress(number * 100 // frames)
        for start in range(written, sound.shape[1], _AAC_FRAME):
            container.mux(audio.encode(_audio_frame(sound, start)))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _audio_frame(sound: Samples, start: int) -> av.AudioFrame:
    piece = np.ascontiguousarray(sound[:, start : start + _AAC_FRAME])
    frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
    frame.sample_rate = RATE
    frame.pts, frame.time_base = start, Fraction(1, RATE)
    return frame
