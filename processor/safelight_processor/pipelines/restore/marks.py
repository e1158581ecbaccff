"""Finding dust, scratches and folds. `scratches.py` fills what is found here.

Where emulsion is gone, the paper shows: a mark covers the picture with one known color, more or less.
So the question asked of every pixel is not "is it bright?" but "how opaque would a paper-colored cover
have to be?", and the most doubtful of the three channels answers. A green leaf's bright rib or a gray hair
then is a faint cover at most, a scratch is a strong one on any ground.

1. Cover: the white top-hat (what an opening with a small disk takes away) of each channel, divided by the
   room that is left up to paper white; the least of the channels. On the negative: dark dust. Top-hats as
   detectors of film defects are surveyed in A. Kokaram, "Motion Picture Restoration" (Springer 1998).
2. Specks: compact covers that stand out of a quiet surrounding, and not in swarms, which are texture.
3. Lines: pixels vote whether they are covered, and the vote is averaged along lines in many directions,
   less that of the parallels on both sides (the idea of the Radon transform and of oriented matched filters:
   S. Chaudhuri et al., IEEE Transactions on Medical Imaging 8, 1989). A scratch has the same picture on both
   sides, an edge has not. Only bright lines count: a dark one is nearly always a cable, a branch or a hair.
"""

import math

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from safelight_processor.pipelines.restore.step import (
    Floats,
    Pixels,
    Tell,
    as_floats,
    as_pixels,
    lightness,
    odd,
)

Mask = NDArray[np.bool_]

DISK = 0.0085  # of the diagonal; wider things are no dust
DIRECTIONS = 32
LINE = 0.048  # of the diagonal, along which a line's votes are counted
GAP = 4  # px from a line to its parallels
DIM = 34  # 0..255; bright specks on ground darker than that may be stars or city lights
# How far a speck must stand out of its surroundings, in units of their unrest: to be dust in a picture
# that is known to be dusty, and to prove that it is.
FAINT, PLAIN = 3.4, 7.0
FOLLOWED = 0.12  # score at which a line that is known is followed further


class Marks(msgspec.Struct, frozen=True):
    """What was found: masks of specks and of lines, how many of each, and whether the picture is worn."""

    specks: Mask
    lines: Mask
    speck_count: int
    line_count: int
    worn: bool


def find(pixels: Pixels, strength: float, tell: Tell) -> Marks:
    """The marks in a picture of about a megapixel; more strength finds fainter ones.

    Stars, medals and buttons look like dust. So specks are only taken for it in a picture that is worn as a
    whole: full of things that can only be dust, or with some of them and faded too.
    """
    color = pixels if pixels.ndim == 3 else pixels[:, :, None]
    negative = as_pixels(255 - color)
    light = lightness(pixels)
    disk = odd(max(5.0, DISK * math.hypot(*light.shape)))
    ground = _opened(color, disk)
    lit = (ground.mean(axis=2) > DIM) if _faded(light) else (ground.mean(axis=2) > 2 * DIM)
    tell(0.05, "looking for dust")
    cover = _cover(color, ground)
    dust = _count(_specks(cover, light, disk, PLAIN) & lit) / max(float(lit.mean()), 0.2)
    faded = _faded(light)
    worn = dust >= (4 if faded else 45) and float(lit.mean()) > 0.2
    specks = np.zeros(light.shape, np.bool_)
    if worn:
        stands_out = FAINT / (0.4 + 0.6 * strength)
        specks = _specks(cover, light, disk, stands_out)
        specks |= _specks(_cover(negative, _opened(negative, disk)), light, disk, stands_out)
    tell(0.2, "looking for scratches")
    thin = _cover(color, _opened(color, 7))
    lines, line_count = _lines(thin, light, strength, worn or faded, tell)
    specks &= ~lines
    return Marks(specks, lines, _count(specks), line_count, worn)


def _faded(light: Pixels) -> bool:
    """No black is left, and no white."""
    black, white = np.percentile(light[::2, ::2], (0.5, 99.5))
    return bool(black >= 30 and white <= 230)


def _opened(color: Pixels, size: int) -> Pixels:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = as_pixels(cv2.morphologyEx(_soft(color), cv2.MORPH_OPEN, disk))
    return opened.reshape(color.shape)


def _soft(color: Pixels) -> Pixels:
    return as_pixels(cv2.GaussianBlur(color, (0, 0), 0.6)).reshape(color.shape)


def _cover(color: Pixels, ground: Pixels) -> Floats:
    """How opaque (0..1) a paper-colored cover over the ground would have to be, to give this picture."""
    soft = _soft(color)
    paper = np.percentile(soft[::2, ::2].reshape(-1, soft.shape[2]), 99.95, axis=0).astype(np.float32)
    room = paper - ground
    # A channel that is nearly paper white already cannot tell, and does not vote.
    votes = room > 24
    cover = np.where(votes, (soft - ground.astype(np.float32)) / np.maximum(room, 24), np.inf).min(axis=2)
    return as_floats(np.where(votes.any(axis=2), np.clip(cover, 0, 1), 0))


def _quiet(cover: Floats, side: int) -> Floats:
    """What cover there is all around anyway: grain and texture."""
    ceiling = 4 * float(np.median(cover)) + 0.05
    return as_floats(cv2.boxFilter(np.minimum(cover, ceiling), -1, (side, side)))


def _specks(cover: Floats, light: Pixels, disk: int, stands_out: float) -> Mask:
    found = cover > np.maximum(0.2, 3.0 * _quiet(cover, 33))
    count, labels, stats, centers = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    area, across = (
        stats[:, cv2.CC_STAT_AREA],
        stats[:, cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1].max(axis=1),
    )
    good = (area >= 3) & (across <= 2 * disk)
    good[0] = False  # the ground
    # How far it stands out of what is around it, itself and its like left out.
    around = as_pixels(cv2.medianBlur(light, disk))
    rise = np.abs(light.astype(np.float32) - around)
    other = np.where(cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0, 0, rise)
    unrest = np.sqrt(cv2.blur(other * other, (31, 31))) + 1.5
    out = np.bincount(labels.ravel(), (rise / unrest).ravel(), count) / np.maximum(area, 1)
    good &= out > stands_out
    # In a swarm: texture, foliage, gravel. Their number in a window around each one:
    swarm = np.zeros(cover.shape, np.float32)
    at = np.clip(np.rint(centers).astype(int), 0, np.array(cover.shape[::-1]) - 1)
    np.add.at(swarm, (at[good, 1], at[good, 0]), 1)
    swarm = as_floats(cv2.blur(swarm, (61, 61), borderType=cv2.BORDER_CONSTANT)) * 61 * 61
    good &= swarm[at[:, 1], at[:, 0]] <= 9.5
    good[0] = False  # the ground
    return np.asarray(good[labels], np.bool_)


def _lines(cover: Floats, light: Pixels, strength: float, worn: bool, tell: Tell) -> tuple[Mask, int]:
    votes = as_floats(np.clip((cover - 1.5 * _quiet(cover, 41) - 0.04) / 0.12, 0, 1))
    best = np.zeros_like(votes)
    for number in range(DIRECTIONS):
        np.maximum(best, _along(votes, light, 180.0 * number / DIRECTIONS), out=best)
        tell(0.2 + 0.8 * (number + 1) / DIRECTIONS, "looking for scratches")
    # A picture that is not worn has hardly been scratched: then only the plainest line counts.
    seed, shortest = (0.5, 0.1) if worn else (0.75, 0.4)
    return _long(best, cover, seed / (0.5 + 0.5 * strength), shortest)


def _along(votes: Floats, light: Pixels, angle: float) -> Floats:
    """For each pixel, how far a bright line in this direction runs through it: 0 to 1.

    The picture is turned so that the line lies level; then averages along it are plain box filters.
    """
    height, width = votes.shape
    side = math.ceil(math.hypot(height, width)) + 2
    turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0), np.float64)
    turn[:, 2] += (side - width) / 2, (side - height) / 2
    level = cv2.warpAffine(votes, turn, (side, side))
    reach = odd(LINE * math.hypot(height, width))
    level = as_floats(cv2.blur(cv2.blur(level, (reach, 1), borderType=cv2.BORDER_CONSTANT), (1, 2)))
    beside = np.maximum(_moved(level, GAP), _moved(level, -GAP))
    tone = cv2.warpAffine(light, turn, (side, side), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    tone = as_floats(cv2.blur(tone, (reach, 1)))
    up, down = _moved(tone, GAP + 1), _moved(tone, -GAP - 1)
    rise = tone - np.maximum(up, down)
    same = np.clip(1.6 - np.abs(up - down) / np.maximum(rise, 4), 0, 1)
    score = (level - beside) * same
    return as_floats(
        cv2.warpAffine(score, turn, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    )


def _moved(rows: Floats, by: int) -> Floats:
    return np.roll(rows, by, axis=0)


def _long(score: Floats, cover: Floats, seed: float, shortest: float) -> tuple[Mask, int]:
    """Lines that are sure somewhere and long enough, followed to where they fade, and how many."""
    faint = (score > 0.55 * seed).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(faint, connectivity=8)
    size = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    peak = np.zeros(count)
    np.maximum.at(peak, np.asarray(labels, np.int64).ravel(), score.ravel())
    mean = np.bincount(labels.ravel(), score.ravel(), count) / size
    opaque = np.bincount(labels.ravel(), cover.ravel(), count) / size
    length = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    good = (
        (peak > seed) & (mean > 0.8 * seed) & (length > shortest * math.hypot(*score.shape)) & (opaque > 0.1)
    )
    good[0] = False
    lines = np.asarray(good[labels], np.bool_)
    return lines | _followed(lines, score, cover), int(good.sum())


def _followed(lines: Mask, score: Floats, cover: Floats) -> Mask:
    """What lies straight on from the lines or in their gaps, and alone would be too faint."""
    reach = 0.06 * math.hypot(*score.shape)
    found = cv2.HoughLinesP(lines.astype(np.uint8), 1, np.pi / 360, 30, minLineLength=reach, maxLineGap=reach)
    path = np.zeros(lines.shape, np.uint8)
    for x1, y1, x2, y2 in [] if found is None else found.reshape(-1, 4).astype(float):
        length = math.hypot(x2 - x1, y2 - y1)
        dx, dy = (x2 - x1) / length * reach, (y2 - y1) / length * reach
        cv2.line(path, (round(x1 - dx), round(y1 - dy)), (round(x2 + dx), round(y2 + dy)), 1, 3)
    covered = cv2.dilate((cover > 0.15).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray((path > 0) & (covered > 0) & (score > FOLLOWED), np.bool_)


def _count(mask: Mask) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1
