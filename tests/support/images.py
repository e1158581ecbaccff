"""Makers of test pictures: photo-like ones of any size and format, and hostile ones.

Everything is deterministic: the same arguments give the same bytes (of one Pillow version).
"""

import hashlib
import io
import os
import struct
import tempfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL.Image

Pixels = np.ndarray


def photo(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    """A picture with a photograph's statistics: a sky, 1/f texture, hard edges, a few saturated things."""
    dice = np.random.default_rng(seed)
    pixels = np.linspace(200, 90, height)[:, None, None] * np.array([0.8, 0.95, 1.1]) + np.zeros(
        (1, width, 1)
    )
    pixels += 2.2 * _clouds(dice, width, height)
    _place_things(dice, pixels)
    pixels += dice.normal(0, 1.0, (height, width, 1))
    return PIL.Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def _clouds(dice: np.random.Generator, width: int, height: int) -> Pixels:
    """1/f noise: random grids, each octave twice as fine and half as strong."""
    total = np.zeros((height, width, 3), np.float32)
    side, strength = 2, 24.0
    while side < max(width, height) and strength > 0.5:
        grid = dice.normal(0, strength, (side, side)).astype(np.float32)
        octave = PIL.Image.fromarray(grid).resize((width, height), PIL.Image.Resampling.BICUBIC)
        total += np.asarray(octave)[:, :, None] * dice.uniform(0.8, 1.2, 3).astype(np.float32)
        side, strength = side * 2, strength / 2
    return total


def _place_things(dice: np.random.Generator, pixels: Pixels) -> None:
    height, width = pixels.shape[:2]
    for number in range(14):
        w, h = (max(1, int(side * dice.uniform(0.05, 0.25))) for side in (width, height))
        x, y = int(dice.integers(0, max(1, width - w))), int(dice.integers(height // 3, max(1, height)))
        # As in nearly every photograph, something is black and something is white.
        color = {0: np.full(3, 4.0), 1: np.full(3, 251.0)}.get(number, dice.uniform(20, 235, 3))
        patch = pixels[y : y + h, x : x + w]
        opacity = 0.98 if number < 2 else 0.75
        patch *= 1 - opacity
        patch += opacity * color


def encoded(picture: PIL.Image.Image, format_: str, **options: object) -> bytes:
    """The bytes of a picture in a format of Pillow's."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format_, **options)
    return buffer.getvalue()


@lru_cache(maxsize=64)
def jpeg(width: int, height: int, seed: int = 0, quality: int = 90, orientation: int = 1) -> bytes:
    """A photo-like JPEG; with an orientation, in its EXIF."""
    options: dict[str, object] = {"quality": quality}
    if orientation != 1:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    return encoded(photo(width, height, seed), "JPEG", **options)


@lru_cache(maxsize=64)
def png(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """A photo-like PNG of mode L, RGB, RGBA, P or I;16."""
    return encoded(in_mode(photo(width, height, seed), mode), "PNG")


@lru_cache(maxsize=16)
def webp(width: int, height: int, seed: int = 0) -> bytes:
    """A photo-like lossy WebP."""
    return encoded(photo(width, height, seed), "WEBP", method=0)


@lru_cache(maxsize=16)
def gif(width: int, height: int, seed: int = 0, frames: int = 1) -> bytes:
    """A GIF; with several frames, an animation of 50 ms each."""
    first, *others = [photo(width, height, seed + frame).quantize(64) for frame in range(frames)]
    if not others:
        return encoded(first, "GIF")
    return encoded(first, "GIF", save_all=True, append_images=others, duration=50, loop=0)


@lru_cache(maxsize=16)
def tiff(width: int, height: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """A photo-like TIFF of mode L, RGB, RGBA, CMYK or I;16."""
    return encoded(in_mode(photo(width, height, seed), mode), "TIFF")


@lru_cache(maxsize=16)
def bmp(width: int, height: int, seed: int = 0) -> bytes:
    """A photo-like BMP."""
    return encoded(photo(width, height, seed), "BMP")


def in_mode(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """An RGB picture in another mode; RGBA gets a soft round hole, I;16 all of its sixteen bits."""
    if mode == "I;16":
        gray = np.asarray(picture.convert("L")).astype(np.uint16)
        return PIL.Image.fromarray(gray * 257)
    if mode == "RGBA":
        y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
        alpha = np.clip(np.hypot(x, y) * 255, 0, 255).astype(np.uint8)
        picture = picture.copy()
        picture.putalpha(PIL.Image.fromarray(alpha))
        return picture
    return picture.convert(mode)


def truncated_jpeg(width: int = 640, height: int = 480) -> bytes:
    """A JPEG whose second half never arrived."""
    whole = jpeg(width, height)
    return whole[: len(whole) // 2]


def gif_header_65535() -> bytes:
    """43 bytes that claim to be 65535 x 65535 pixels."""
    return (
        b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff"
        b"!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;"
    )


@lru_cache(maxsize=4)
def bomb_png(side: int = 12_000) -> bytes:
    """A whole and valid gray PNG of side x side black pixels, about a thousandth of that in bytes."""
    squeeze = zlib.compressobj(9)
    row = bytes(side + 1)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", data)
        + _png_chunk(b"IEND", b"")
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def big_jpeg(megapixels: float = 100, bytes_at_least: int = 60_000_000) -> Path:
    """The path of a large JPEG, made in a second or two with little memory, and kept in the temp folder.

    One strip is encoded with a restart marker after each row of blocks; as every restart forgets what came
    before, the strip's data can be repeated to any height.
    """
    name = hashlib.sha256(f"{megapixels} {bytes_at_least} 1".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"safelight-big-{name}.jpg"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        _write_tall_jpeg(part, megapixels, bytes_at_least)
        part.replace(path)  # whole or not there at all: other test processes look for it too
    return path


def _write_tall_jpeg(path: Path, megapixels: float, bytes_at_least: int) -> None:
    rows = 128  # eight rows of 16 px blocks, so that the restart numbers 0..7 go round once
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 16) * 16
    times = -(-int(megapixels * 1e6) // (width * rows))
    grain = np.random.default_rng(1).normal(0, 14, (rows, width, 1))
    pixels = np.clip(np.asarray(photo(width, rows, 1)) + grain, 0, 255).astype(np.uint8)
    for quality in (60, 75, 85, 90, 93, 95, 97, 98, 99, 100):
        strip = encoded(
            PIL.Image.fromarray(pixels), "JPEG", quality=quality, subsampling="4:2:0", restart_marker_rows=1
        )
        if len(strip) * times >= bytes_at_least:
            break
    else:
        raise ValueError(f"{megapixels} megapixels cannot be made to weigh {bytes_at_least} bytes")
    size = strip.index(b"\xff\xc0") + 5  # SOF0: length, precision, then the height
    scan = strip.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(strip[scan + 2 : scan + 4], "big")
    header = strip[:size] + struct.pack(">H", rows * times) + strip[size + 2 : start]
    with path.open("wb") as file:
        file.write(header)
        for turn in range(times):
            file.write(strip[start:-2] + (b"\xff\xd7" if turn < times - 1 else b"\xff\xd9"))
