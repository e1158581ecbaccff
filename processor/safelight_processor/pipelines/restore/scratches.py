"""Dust, scratches and folds: found by `marks.py`, filled from what is around them.

Filled with A. Telea, "An image inpainting technique based on the fast marching method", Journal of Graphics
Tools 9 (2004), at the size at which they were found: a filling is smooth, so that a large scan gains
nothing from filling its many more pixels one by one. This comes before the noise is removed, while a mark
still has its hard edges, and so that the grain then goes from around the fillings too.
"""

from typing import Any

import cv2
import numpy as np

from safelight_processor.pipelines.restore.marks import Mask, find
from safelight_processor.pipelines.restore.step import CLEAN, SMALL, Done, Pixels, Tell, as_pixels, reduced

LOOKED_AT = 1_200_000  # px; marks are looked for at the size of a screen, where people see them
SMALLEST_SIDE = 64  # px
REACH = 3  # px from which a filling is taken


def scratches(pixels: Pixels, strength: float, tell: Tell) -> Done:
    """Find dust, scratches and folds, and fill them."""
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        return Done(pixels, {}, SMALL)
    small = reduced(pixels, LOOKED_AT)
    if min(small.shape[:2]) < SMALLEST_SIDE:  # a long thin panorama
        return Done(pixels, {}, SMALL)
    marks = find(small, strength, lambda fraction, sentence: tell(0.8 * fraction, sentence))
    measured: dict[str, Any] = {
        "specks": marks.speck_count,
        "scratches": marks.line_count,
        "worn": marks.worn,
    }
    if not marks.speck_count and not marks.line_count:
        return Done(pixels, measured, CLEAN)
    what = f"{marks.line_count} scratches and {marks.speck_count} specks"
    tell(0.8, f"filling {what}")
    mask = _rimmed(marks.specks, marks.lines)
    measured["filled_percent"] = round(100 * float(mask.mean()), 2)
    filled = as_pixels(cv2.inpaint(small, mask, REACH, cv2.INPAINT_TELEA))
    return Done(_put(filled, mask, pixels), measured, f"filled {what}")


def _rimmed(specks: Mask, lines: Mask) -> Pixels:
    """One mask, with a rim: a mark is softer at its edge than it was found."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    around_specks = as_pixels(cv2.dilate(specks.astype(np.uint8), disk))
    around_lines = as_pixels(cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8)))
    return around_specks | around_lines


def _put(filled: Pixels, mask: Pixels, pixels: Pixels) -> Pixels:
    """The fillings in the picture at its own size; everything else is untouched."""
    if filled.shape == pixels.shape:
        return filled
    size = (pixels.shape[1], pixels.shape[0])
    whole = as_pixels(cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR))
    inside = cv2.resize(mask * 255, size, interpolation=cv2.INTER_LINEAR) > 100
    return np.where(inside if pixels.ndim == 2 else inside[:, :, None], whole, pixels)
