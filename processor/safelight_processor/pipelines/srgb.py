"""A picture with a wide-gamut profile (Display P3, Adobe RGB ...) in sRGB, so that its profile can go.

Every phone writes Display P3; dropping that profile without converting would fade the colors. Pillow's
ImageCms would hand an untrusted profile to LittleCMS, which has a history of memory bugs, so the few
numbers of a matrix profile (ICC.1:2022, clauses 8.3, 10.6 and 10.18) are read here, with bounds. A
profile of another kind is left alone.
"""

import struct
from functools import lru_cache
from typing import cast

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageFilter

Floats = NDArray[np.float64]

GRID = 33  # points per side of the table; at 33 the worst error is below one step of 255
# sRGB's primaries adapted to D50, as every ICC profile states them (columns: red, green, blue).
SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


def to_srgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """An RGB picture converted by its own `icc_profile`, without it; as it is when there is none to apply."""
    profile = picture.info.get("icc_profile")
    if picture.mode != "RGB" or not isinstance(profile, bytes):
        return picture
    table = _table(profile)
    if table is not None:
        picture = picture.filter(table)
    picture.info.pop("icc_profile", None)
    return picture


@lru_cache(maxsize=8)
def _table(profile: bytes) -> ImageFilter.Color3DLUT | None:
    """The conversion as a color cube, or None: it is sRGB already, or not of a kind that is understood."""
    try:
        matrix, curves = _parse(profile)
    except (struct.error, ValueError, IndexError, OverflowError):
        return None
    steps = np.linspace(0, 1, GRID)
    red, green, blue = (np.interp(steps, np.linspace(0, 1, len(curve)), curve) for curve in curves)
    # Color3DLUT wants red to change fastest.
    b, g, r = np.meshgrid(blue, green, red, indexing="ij")
    linear = np.stack([r, g, b], axis=-1) @ (np.linalg.inv(SRGB_TO_XYZ) @ matrix).T
    cube = _encode(np.clip(linear, 0, 1))
    b, g, r = np.meshgrid(steps, steps, steps, indexing="ij")
    if np.abs(cube - np.stack([r, g, b], axis=-1)).max() < 3 / 255:
        return None
    return ImageFilter.Color3DLUT(GRID, cast("list[float]", cube.reshape(-1).astype(np.float32)))


def _encode(linear: Floats) -> Floats:
    """The transfer curve of sRGB (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


def _parse(profile: bytes) -> tuple[Floats, list[Floats]]:
    if profile[16:20] != b"RGB ":
        raise ValueError("not an RGB profile")
    count = struct.unpack_from(">I", profile, 128)[0]
    tags: dict[bytes, bytes] = {}
    for index in range(min(count, 64)):
        name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[start : start + size]
    if not {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"} <= tags.keys() or b"A2B0" in tags:
        raise ValueError("not a matrix profile")
    columns = [np.array(struct.unpack_from(">3i", tags[c + b"XYZ"], 8)) / 65536 for c in (b"r", b"g", b"b")]
    matrix = np.stack(columns, axis=1)
    if not 0.5 < matrix[1].sum() < 1.5:  # white has a luminance of one
        raise ValueError("the primaries make no white")
    return matrix, [_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b")]


def _curve(tag: bytes) -> Floats:
    """A tone curve as 1024 or more linear-light values for inputs from 0 to 1."""
    x = np.linspace(0, 1, 1024)
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return x
        if count == 1:
            gamma: float = struct.unpack_from(">H", tag, 12)[0] / 256
            return x**gamma
        values = np.frombuffer(tag, ">u2", min(count, 4096), 12)
        return np.interp(x, np.linspace(0, 1, len(values)), values / 65535)
    if tag[:4] == b"para":
        return _parametric(struct.unpack_from(">H", tag, 8)[0], tag, x)
    raise ValueError("an unknown kind of curve")


def _parametric(kind: int, tag: bytes, x: Floats) -> Floats:
    """`para` curves of kinds 0, 1, 2, 3 and 4 (ICC.1:2022, table 68)."""
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[kind] if kind <= 4 else 0
    if not count:
        raise ValueError("an unknown kind of parametric curve")
    g, a, b, c, d, e, f = (*(v / 65536 for v in struct.unpack_from(f">{count}i", tag, 12)), *[0.0] * 7)[:7]
    if kind == 0:
        a, b, c, d, e, f = 1.0, 0.0, 0.0, -1.0, 0.0, 0.0
    elif kind <= 2:
        # Below -b/a these are constant: zero (kind 1) or c (kind 2).
        e = f = c if kind == 2 else 0.0
        c, d = 0.0, (-b / a if a else 0.0)
    power: Floats = np.power(np.clip(a * x + b, 0, None), g) + e
    curve: Floats = np.where(x >= d, power, c * x + f)
    return np.clip(curve, 0, 1)
