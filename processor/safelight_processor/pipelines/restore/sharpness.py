"""Sharpness: how soft the picture is, and an unsharp mask for what is missing.

Measured with F. Crete, T. Dolmiere, P. Ladret, M. Nicolas, "The blur effect: perception and estimation with
a new no-reference perceptual blur metric", SPIE 6492 (2007): a sharp picture loses much when it is blurred
again, a soft one has nothing to lose. The mask works on brightness alone, so that no colored rims arise,
and leaves small differences in peace, so that what noise is left is not sharpened too.
"""

import cv2
import numpy as np

from safelight_processor.pipelines.restore.step import (
    CLEAN,
    SMALL,
    SMALLEST,
    Done,
    Pixels,
    Tell,
    as_pixels,
    lightness,
    reduced,
    relit,
)

LOOKED_AT = 2_000_000  # px; sharp enough at the size of a screen is sharp enough
SOFT = (0.28, 0.43)  # of the metric: sharp, and as soft as is fully corrected
AMOUNT = 0.6
RADIUS = 1.2  # px at the size that is looked at
THRESHOLD = 3.0  # 0..255
STRIP = 512  # rows sharpened at once, so that floating point needs little memory


def sharpness(pixels: Pixels, strength: float, tell: Tell) -> Done:
    """Sharpen a soft picture, as much as it is soft."""
    if min(pixels.shape[:2]) < SMALLEST:
        return Done(pixels, {}, SMALL)
    small = reduced(lightness(pixels), LOOKED_AT)
    blur = softness(small)
    measured = {"softness": round(blur, 3)}
    amount = AMOUNT * strength * min(1.0, max(0.0, (blur - SOFT[0]) / (SOFT[1] - SOFT[0])))
    if amount < 0.1:
        return Done(pixels, measured, CLEAN)
    radius = RADIUS * pixels.shape[0] / small.shape[0]
    margin = int(4 * radius) + 1
    done = np.empty_like(pixels)
    for top in range(0, len(pixels), STRIP):
        start, end = max(0, top - margin), min(len(pixels), top + STRIP + margin)
        part = _sharpened(pixels[start:end], radius, amount)
        done[top : top + STRIP] = part[top - start : top - start + STRIP]
        tell(min(1.0, (top + STRIP) / len(pixels)), "sharpening")
    return Done(done, measured, f"sharpened by {amount:.2f}")


def softness(light: Pixels) -> float:
    """Crete's metric: 0 is as sharp as can be, 1 is all blur."""
    values = light.astype(np.float32)
    worst = 0.0
    for axis, window in ((0, (1, 9)), (1, (9, 1))):
        steps = np.abs(np.diff(values, axis=axis))
        blurred = np.abs(np.diff(cv2.blur(values, window), axis=axis))
        lost = np.maximum(0, steps - blurred).sum()
        worst = max(worst, float(1 - lost / max(float(steps.sum()), 1e-6)))
    return worst


def _sharpened(pixels: Pixels, radius: float, amount: float) -> Pixels:
    light = lightness(pixels).astype(np.float32)
    detail = light - cv2.GaussianBlur(light, (0, 0), radius)
    detail = np.sign(detail) * np.maximum(np.abs(detail) - THRESHOLD, 0)
    return relit(pixels, as_pixels(np.clip(np.rint(light + amount * detail), 0, 255)))
