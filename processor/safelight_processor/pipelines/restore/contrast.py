"""Contrast: a faded print has neither black nor white, and gets both back.

A straight line over all channels alike, from the picture's darkest and lightest thousandth to nearly black
and nearly white (percentile stretch; R. Gonzalez, R. Woods, "Digital Image Processing", 3.2). Only where both
ends have drawn in: a night or a snowfield lacks one end and is meant so. Local equalisation (CLAHE) was
tried on top, and took more pictures away from their originals than it brought nearer: it is left out.
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
)

SAMPLE = 250_000  # px that are measured
DRAWN_IN = (22.0, 240.0)  # 0..255; a print whose ends lie beyond these is not flat
BLACK, WHITE = 6.0, 248.0
MOST = 1.5  # a flat picture may be fog, so it is not stretched without end


def contrast(pixels: Pixels, strength: float, tell: Tell) -> Done:
    """Stretch a flat picture over the whole range."""
    if min(pixels.shape[:2]) < SMALLEST:
        return Done(pixels, {}, SMALL)
    sample = cv2.GaussianBlur(lightness(reduced(pixels, SAMPLE)), (0, 0), 1.0)
    dark, light = (float(value) for value in np.percentile(sample, (0.1, 99.9)))
    measured = {"darkest": round(dark), "lightest": round(light)}
    if dark < DRAWN_IN[0] or light > DRAWN_IN[1] or light - dark < 8:
        return Done(pixels, measured, CLEAN)
    tell(0.5, "stretching")
    gain = min(MOST, (WHITE - BLACK) / (light - dark))
    # Where the gain is held back, the picture stays in the middle of the range.
    middle = (BLACK + WHITE) / 2
    levels = np.arange(256, dtype=np.float32)
    line = middle + gain * (levels - (dark + light) / 2)
    table = as_pixels(np.clip(np.rint(levels + strength * (line - levels)), 0, 255))
    done = as_pixels(cv2.LUT(pixels, table))
    return Done(done, measured, f"stretched {1 + strength * (gain - 1):.2f} times")
