"""Noise: film grain and the sensor's, measured first, then averaged away among patches that look alike.

Measured as what a blur takes away, block by block, of which the quiet ones count: elsewhere texture would
pass for noise (block-based estimation; S. Olsen, "Estimation of Noise in Images: An Evaluation", CVGIP 55,
1993). The Laplacian of the usual estimators sees too little of film grain, which comes in clumps.

Removed with non-local means (A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising",
CVPR 2005) on the brightness, and on the colors at half size, where eyes are not sharp anyhow. The window
that is searched shrinks with the size of the picture, so that the time stays within bounds.
"""

from collections.abc import Callable

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
)

CLEAN_BELOW = 0.0135  # of the range from black to white; less is what every camera has
BLOCK = 16
MOST = 6.0  # 0..255; what seems louder is texture
STRIP = 256  # rows denoised at once
STRENGTH = 1.0  # of the filter, in sigmas
LEFT = 0.15  # share of the grain that stays: skin without any looks like wax


def noise(pixels: Pixels, strength: float, tell: Tell) -> Done:
    """Remove noise where there is more than every camera has."""
    if min(pixels.shape[:2]) < SMALLEST:
        return Done(pixels, {}, SMALL)
    light = lightness(pixels)
    sigma = estimate(light)
    black, white = ends(light)
    measured = {"sigma": round(sigma, 2)}
    # A faded picture will be stretched, and its noise with it.
    if sigma < CLEAN_BELOW * (white - black):
        return Done(pixels, measured, CLEAN)
    keep = 1 - strength * (1 - LEFT)
    if pixels.ndim == 2:
        calm = _calmed(light, sigma, lambda fraction: tell(fraction, "averaging the grain"))
        return Done(_mixed(calm, light, keep), measured, f"removed noise of {sigma:.1f}")
    parts = list(cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)))
    calm = _calmed(as_pixels(parts[0]), sigma, lambda fraction: tell(0.7 * fraction, "averaging the grain"))
    parts[0] = _mixed(calm, as_pixels(parts[0]), keep)
    for number in (1, 2):
        parts[number] = _mixed(_calm_color(as_pixels(parts[number])), as_pixels(parts[number]), 1 - strength)
        tell(0.7 + 0.15 * number, "averaging the color")
    done = as_pixels(cv2.cvtColor(cv2.merge(parts), cv2.COLOR_YCrCb2RGB))
    return Done(done, measured, f"removed noise of {sigma:.1f}")


def estimate(light: Pixels) -> float:
    """The noise's standard deviation, 0 to 255.

    Noise is everywhere and texture is not: so the quietest blocks know it, and the less they tell, the
    faster the blocks after them grow louder.
    """
    values = light.astype(np.float32)
    rough = values - cv2.GaussianBlur(values, (0, 0), 2.0)
    size = (max(1, light.shape[1] // BLOCK), max(1, light.shape[0] // BLOCK))
    power = cv2.resize(rough * rough, size, interpolation=cv2.INTER_AREA)
    # Black and white, as black and white as this picture has them, are quiet for another reason.
    black, white = ends(light)
    edge = max(4.0, 0.08 * (white - black))
    for low, high in ((black + edge, white - edge), (4.0, 251.0)):
        usable = ((light > low) & (light < high)).astype(np.float32)
        good = power[cv2.resize(usable, size, interpolation=cv2.INTER_AREA) > 0.9]
        if good.size >= max(4, power.size // 50):
            quietest, quiet = np.sqrt(np.percentile(good, (10, 30)))
            return min(MOST, float(quietest * min(1.0, 1.6 * quietest / max(quiet, 0.1))))
    return 0.0  # all black or white, as print is


def ends(light: Pixels) -> tuple[float, float]:
    """What is black and what is white in this picture, 0 to 255."""
    black, white = np.percentile(light[::2, ::2], (0.5, 99.5))
    return float(black), float(white)


def _calmed(light: Pixels, sigma: float, tell: Callable[[float], None]) -> Pixels:
    template, search = _windows(light.size)
    margin = search // 2 + template // 2
    calm = np.empty_like(light)
    for top in range(0, len(light), STRIP):
        start, end = max(0, top - margin), min(len(light), top + STRIP + margin)
        part = cv2.fastNlMeansDenoising(light[start:end], None, STRENGTH * sigma, template, search)
        calm[top : top + STRIP] = part[top - start : top - start + STRIP]
        tell(min(1.0, (top + STRIP) / len(light)))
    return calm


def _windows(pixels: int) -> tuple[int, int]:
    """Sides of the patch and of the window that is searched: their squares are the work per pixel."""
    if pixels <= 1_500_000:
        return 7, 21
    return (5, 15) if pixels <= 4_500_000 else (5, 9)


def _calm_color(part: Pixels) -> Pixels:
    height, width = part.shape
    half = cv2.resize(part, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    sigma = max(1.0, estimate(as_pixels(half)))
    half = cv2.fastNlMeansDenoising(half, None, 1.2 * sigma, 5, 11 if part.size < 4_500_000 else 7)
    return as_pixels(cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR))


def _mixed(calm: Pixels, rough: Pixels, keep: float) -> Pixels:
    return as_pixels(cv2.addWeighted(calm, 1 - keep, rough, keep, 0))
