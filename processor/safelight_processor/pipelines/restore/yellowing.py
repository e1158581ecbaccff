"""Yellowing: the dyes of a print fade, its paper turns yellow, and white is white no more.

Fading is, to a good approximation, a straight line per channel: black is lifted, white is lowered, blue
most of all (M. Chambah, B. Besserer, P. Courtellemont, "Recent Progress in Automatic Digital Restoration
of Color Motion Pictures", SPIE 4663, 2002, on faded film). So the darkest and the lightest values of the
three channels are brought together again. A sunset, a flower and a room in lamplight are yellow as well,
and protected thrice: their black is still black, and nothing is done without lifted blacks; white is never
believed to be more tinted than fading makes it; and the less sure all this is, the less is done.

A print in one tone (brown, yellowed gray) has no colors to protect: it is known by turning gray when its
white is made white.
"""

import cv2
import numpy as np

from safelight_processor.pipelines.restore.step import (
    CLEAN,
    GRAY,
    SMALL,
    SMALLEST,
    Done,
    Floats,
    Pixels,
    Tell,
    as_floats,
    as_pixels,
    reduced,
)

SAMPLE = 250_000  # px that are measured
LEAST_WHITE = np.array(
    [0.8, 0.8, 0.68], np.float32
)  # how far fading lowers a channel below the brightest one
LIFTED = (20.0, 32.0)  # 0..255: black that is surely black, black that is surely lifted
TINT = (0.04, 0.12)  # of white: surely none, surely some
ONE_TONE = 10.0  # 0..255; colors that are left in a print of one tone when its white is white


def yellowing(pixels: Pixels, strength: float, tell: Tell) -> Done:
    """Bring the channels' blacks and whites together again, where they have come apart by fading."""
    if pixels.ndim == 2:
        return Done(pixels, {}, GRAY)
    if min(pixels.shape[:2]) < SMALLEST:
        return Done(pixels, {}, SMALL)
    sample = as_floats(cv2.GaussianBlur(reduced(pixels, SAMPLE), (0, 0), 1.0)).reshape(-1, 3)
    black, white = (as_floats(np.percentile(sample, q, axis=0)) for q in (0.5, 99.5))
    tint = float(1 - white[2] / max(white[0], white[1], 1.0))
    one_tone = _is_one_tone(sample, white)
    sure = _ramp(tint, TINT) * (1.0 if one_tone else _ramp(float(black.mean()), LIFTED))
    measured = {
        "black": [round(float(value)) for value in black],
        "white": [round(float(value)) for value in white],
        "one_tone": one_tone,
        "certainty": round(sure, 2),
    }
    if sure < 0.1:
        return Done(pixels, measured, CLEAN)
    tell(0.5, "bringing the colors back")
    table = _table(black, np.maximum(white, white.max() * LEAST_WHITE), sure * strength)
    return Done(
        as_pixels(cv2.LUT(pixels, table)), measured, f"took {100 * tint:.0f} % of yellow out of white"
    )


def _is_one_tone(sample: Floats, white: Floats) -> bool:
    even = sample / np.maximum(white, 1) * 255
    colors = even.max(axis=1) - even.min(axis=1)
    return bool(np.percentile(colors, 90) < ONE_TONE)


def _table(black: Floats, white: Floats, amount: float) -> Pixels:
    """A line per channel: its black goes where the darkest channel has it, its white likewise."""
    levels = np.arange(256, dtype=np.float32)[:, None]
    slope = (white.max() - black.min()) / np.maximum(white - black, 8)
    slope = np.minimum(slope, 2 * slope.min())
    lines = white.max() + slope * (levels - white)
    table = np.clip(np.rint(levels + amount * (lines - levels)), 0, 255)
    return as_pixels(table)[None]


def _ramp(value: float, ends: tuple[float, float]) -> float:
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))
