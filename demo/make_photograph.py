"""Damage a good photograph as fifty years in an attic would: `demo/original.jpg` -> `demo/attic.jpg`.

    python demo/make_photograph.py

Deterministic: the same photograph and seed give the same damage. What happens to a colour print, in the
order in which it happens: the lens was a little soft and the film grainy; the dyes fade, the blue ones
first, so that the print turns yellow and flat, more so along its edges; somebody folds it; it is
scratched and gathers dust; at last it is scanned.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFilter

Floats = NDArray[np.float64]

HERE = Path(__file__).parent
# What is left of black and of white in red, green and blue after the dyes have faded (0..255).
FADED_BLACK = np.array([46.0, 38.0, 28.0])
FADED_WHITE = np.array([236.0, 220.0, 172.0])


def damage(picture: PIL.Image.Image, seed: int = 1974) -> PIL.Image.Image:
    """The picture, damaged; marks scale with its size, as they would in a scan of the same print."""
    dice = np.random.default_rng(seed)
    unit = (picture.width * picture.height) ** 0.5 / 900  # px of the scan per px of a 0.8 MP scan
    soft = picture.convert("RGB").filter(ImageFilter.GaussianBlur(0.7 * unit))
    pixels = np.asarray(soft, np.float64) / 255
    pixels = _grain(pixels, dice, unit)
    pixels = _fade(pixels)
    paper = np.array([1.0, 0.97, 0.88])  # the emulsion is gone there, and the paper shows
    pixels = _lay(pixels, _fold(picture.size, dice, unit), paper)
    pixels = _lay(pixels, _scratches(picture.size, dice, unit), paper)
    pixels = _lay(pixels, _dust(picture.size, dice, unit, 130), paper)
    pixels = _lay(pixels, _dust(picture.size, dice, unit, 45), np.array([0.09, 0.08, 0.07]))
    return PIL.Image.fromarray(np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8))


def _grain(pixels: Floats, dice: np.random.Generator, unit: float) -> Floats:
    """Clumps of silver and dye: mostly brightness, a little color, strongest in the middle tones."""
    height, width = pixels.shape[:2]
    clumps = dice.normal(0, 1, (height, width, 1)) + 0.4 * dice.normal(0, 1, (height, width, 3))
    radius = 0.45 * unit
    soft = [_blurred(clumps[:, :, channel], radius) for channel in range(3)]
    grain = np.stack(soft, axis=-1)
    tone = pixels.mean(axis=2, keepdims=True)
    return np.clip(pixels + 0.034 * grain / grain.std() * (0.5 + 2 * tone * (1 - tone)), 0, 1)


def _fade(pixels: Floats) -> Floats:
    """Every dye loses density, and the edges of the print, where air gets in, yellow first."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    edge = (np.clip(np.maximum(np.abs(x), np.abs(y)) - 0.55, 0, None) / 0.45)[:, :, None] ** 2
    faded = (FADED_BLACK + (FADED_WHITE - FADED_BLACK) * pixels) / 255
    return faded * (1 - edge * np.array([0.0, 0.015, 0.06]))


def _fold(size: tuple[int, int], dice: np.random.Generator, unit: float) -> Floats:
    """A crease from edge to edge: the emulsion cracked along it, wider here and narrower there."""
    width, height = size
    start, end = (dice.uniform(0.55, 0.7) * height, dice.uniform(0.3, 0.45) * height)
    steps = max(2, int(width / unit))
    x = np.linspace(0, width, steps)
    y = np.linspace(start, end, steps) + np.cumsum(dice.normal(0, 0.28, steps)) * unit
    thick = np.clip(1.3 + _smooth(dice.normal(0, 1, steps), 9) * 2.2, 0.3, 3.5) * unit
    return _drawn(size, [(x, y, thick, 0.92)])


def _scratches(size: tuple[int, int], dice: np.random.Generator, unit: float) -> Floats:
    """Hairlines, most of them upright, slightly bent, deep in the middle and shallow at their ends."""
    width, height = size
    lines = []
    for number in range(9):
        length = dice.uniform(0.25, 0.9) * height
        lean = dice.normal(0, 0.09) if number < 6 else dice.uniform(-1.2, 1.2)
        steps = max(2, int(length / unit))
        along = np.linspace(0, 1, steps)
        x = dice.uniform(0.03, 0.97) * width + lean * length * along
        x = x + dice.normal(0, 0.012) * width * np.sin(along * np.pi)
        y = dice.uniform(-0.1, 0.6) * height + length * along
        depth = np.clip(0.55 + 0.6 * np.sin(along * np.pi), 0, 1) * dice.uniform(0.75, 1.0)
        lines.append((x, y, np.full(steps, dice.uniform(0.8, 1.5) * unit) * (0.5 + 0.5 * depth), depth.max()))
    return _drawn(size, lines)


def _dust(size: tuple[int, int], dice: np.random.Generator, unit: float, count: int) -> Floats:
    """Specks and lint: small uneven blots, and now and then a short curled fiber."""
    width, height = size
    cover = PIL.Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(cover)
    for _ in range(count):
        x, y = dice.uniform(0, width) * 2, dice.uniform(0, height) * 2
        radius = min(3.4, 0.8 + dice.exponential(0.65)) * unit * 2
        opacity = int(dice.uniform(150, 255))
        if dice.random() < 0.06:
            turns = np.cumsum(dice.normal(0.12, 0.25, 14)) + dice.uniform(0, 6)
            steps = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * 3 * unit, axis=0)
            draw.line([(x + dx, y + dy) for dx, dy in steps], opacity, max(1, round(1.6 * unit)))
            continue
        angles = np.linspace(0, 2 * np.pi, 9)[:-1]
        corners = radius * dice.uniform(0.6, 1.15, 8)
        draw.polygon(
            [(x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip(angles, corners, strict=True)], opacity
        )
    return np.asarray(cover.resize(size, PIL.Image.Resampling.BOX), np.float64)[:, :, None] / 255


def _drawn(size: tuple[int, int], lines: list[tuple[Floats, Floats, Floats, float]]) -> Floats:
    """Lines of changing thickness as a cover of 0..1, drawn four times as fine."""
    scale = 4
    cover = PIL.Image.new("L", (size[0] * scale, size[1] * scale))
    draw = ImageDraw.Draw(cover)
    for x, y, thick, opacity in lines:
        points = list(zip(x * scale, y * scale, strict=True))
        for (start, end), width in zip(pairwise(points), thick * scale, strict=False):
            draw.line([start, end], int(opacity * 255), max(1, round(width)))
    return np.asarray(cover.resize(size, PIL.Image.Resampling.BOX), np.float64)[:, :, None] / 255


def _lay(pixels: Floats, cover: Floats, color: Floats) -> Floats:
    return pixels * (1 - cover) + color * cover


def _smooth(values: Floats, width: int) -> Floats:
    return np.convolve(values, np.ones(width) / width, "same")


def _blurred(values: Floats, radius: float) -> Floats:
    """A Gaussian blur of a few pixels, one axis after the other."""
    reach = max(1, int(3 * radius + 0.5))
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * radius**2))
    weights /= weights.sum()
    for axis in (0, 1):
        values = np.apply_along_axis(np.convolve, axis, values, weights, "same")
    return values


if __name__ == "__main__":
    with PIL.Image.open(HERE / "original.jpg") as original:
        damage(original).save(HERE / "attic.jpg", quality=90)
