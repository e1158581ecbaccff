"""What a step of the restoration is: it measures first, and then does something or leaves the picture alone.

Every step lives in a file of its own and looks the same: `step(pixels, strength, tell) -> Done`. The list
of them is in `restore/__init__.py`.
"""

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # height x width (gray), or height x width x 3 (RGB)
Floats = NDArray[np.float32]

# `tell(fraction, sentence)`: how much of the step is done, for the progress bar.
Tell = Callable[[float, str], None]

CLEAN = "skipped: clean"
GRAY = "skipped: no color"
SMALL = "skipped: too small"

SMALLEST = 24  # px; below that nothing can be measured


class Done(msgspec.Struct, frozen=True):
    """What a step did: the new pixels, what it had measured, and a sentence."""

    pixels: Pixels
    measured: dict[str, Any]
    did: str


class Step(Protocol):
    """One step. `strength` is above 0 and at most 1."""

    def __call__(self, pixels: Pixels, strength: float, tell: Tell) -> Done:
        """Measure, do what is needed, say so."""
        ...


def lightness(pixels: Pixels) -> Pixels:
    """The luminance of a picture, 0 to 255."""
    return pixels if pixels.ndim == 2 else as_pixels(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def relit(pixels: Pixels, light: Pixels) -> Pixels:
    """The picture with another luminance and its own colors."""
    if pixels.ndim == 2:
        return light
    # YCrCb's own Y is what `lightness` gives, so that an unchanged one changes nothing.
    parts = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)
    parts[:, :, 0] = light
    return as_pixels(cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB))


def reduced(pixels: Pixels, most: int) -> Pixels:
    """The picture with at most that many pixels, for measuring."""
    height, width = pixels.shape[:2]
    scale = (most / (height * width)) ** 0.5
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return as_pixels(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def as_pixels(array: Any) -> Pixels:
    """8-bit pixels out of what OpenCV returns, which is typed more widely than it is."""
    return np.asarray(array, np.uint8)


def as_floats(array: Any) -> Floats:
    """The same for floating point."""
    return np.asarray(array, np.float32)


def odd(length: float) -> int:
    """The nearest odd number below, at least 3: filters have a middle."""
    return max(3, int(length) // 2 * 2 + 1)
