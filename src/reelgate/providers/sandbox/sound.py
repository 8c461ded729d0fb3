"""The sound of a sandbox film: a quiet chord of the prompt's own."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # two rows, left and right, -1 to 1

RATE = 48_000
_ROOT_HZ = 110.0
_CHORDS = ((0, 7, 16), (0, 7, 15), (0, 9, 16), (0, 5, 14), (0, 10, 15))  # semitones
_LOUDNESS = 0.035  # of each tone: about -29 dB
_FADE = RATE // 20


def chord(seed: bytes, samples: int) -> Samples:
    """This many samples of three slowly beating tones chosen by the seed's bytes."""
    time = np.arange(samples, dtype=np.float32) / RATE
    root = _ROOT_HZ * 2 ** (seed[0] % 12 / 12)
    sound = np.zeros((2, samples), np.float32)
    for semitones in _CHORDS[seed[1] % len(_CHORDS)]:
        for side, detune in enumerate((0.999, 1.001)):  # what makes it wide
            sound[side] += np.sin(time * (2 * np.pi * root * 2 ** (semitones / 12) * detune))
    fade = min(_FADE, samples // 2)
    slope = np.linspace(0, 1, fade, dtype=np.float32)
    sound[:, :fade] *= slope
    sound[:, samples - fade :] *= slope[::-1]
    return sound * np.float32(_LOUDNESS)


def fitted(sound: Samples, samples: int) -> Samples:
    """Cut, or continued in silence, to exactly this many samples."""
    missing = max(0, samples - sound.shape[1])
    return np.pad(sound[:, :samples], ((0, 0), (0, missing)))
