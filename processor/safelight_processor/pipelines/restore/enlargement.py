"""Enlargement: twice as wide and high, with Pillow's Lanczos filter (the fastest there is with pillow-simd).

The last step: everything before it is cheaper on the small picture, and noise must not be enlarged.
"""

import numpy as np
import PIL.Image
from PIL.Image import Resampling

from safelight_processor.pipelines.restore.step import Pixels, as_pixels

MOST = 50_000_000  # px that the result may have


def enlargeable(pixels: Pixels) -> bool:
    """Whether twice the size is within bounds."""
    height, width = pixels.shape[:2]
    return bool(4 * height * width <= MOST and 2 * max(height, width) <= 16_383)


def enlarged(pixels: Pixels) -> Pixels:
    """The picture at twice its width and height."""
    picture = PIL.Image.fromarray(pixels)
    return as_pixels(np.asarray(picture.resize((2 * picture.width, 2 * picture.height), Resampling.LANCZOS)))
