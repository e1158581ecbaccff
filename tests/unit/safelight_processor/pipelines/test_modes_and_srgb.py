"""Modes and color spaces: whatever comes in, gray or sRGB goes on."""

import struct

import numpy as np
import PIL.Image
import pytest

from safelight.pipelines import Failure
from safelight_processor.pipelines.modes import split_alpha, with_alpha
from safelight_processor.pipelines.srgb import to_srgb
from support import images

P3 = [[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
SRGB = [[0.43607, 0.38506, 0.14308], [0.2225, 0.71688, 0.06062], [0.01393, 0.0971, 0.71417]]
NUMBERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
CURVE = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *(round(number * 65536) for number in NUMBERS))


def profile(matrix: list[list[float]], curve: bytes = CURVE, space: bytes = b"RGB ") -> bytes:
    """A small ICC profile of the matrix kind."""
    tags = {
        name: struct.pack(">4sI3i", b"XYZ ", 0, *(round(row[column] * 65536) for row in matrix))
        for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(data))
        body += data
    return bytes(16) + space + bytes(108) + struct.pack(">I", len(tags)) + table + body


def tagged(color: tuple[int, int, int], icc: bytes) -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (4, 4), color)
    picture.info["icc_profile"] = icc
    return picture


@pytest.mark.parametrize(
    ("p3", "srgb"),
    [
        # What any color-managed program makes of them.
        ((255, 255, 255), (255, 255, 255)),
        ((0, 0, 0), (0, 0, 0)),
        ((128, 128, 128), (128, 128, 128)),
        ((200, 120, 80), (210, 117, 72)),
        ((80, 160, 90), (36, 162, 82)),
    ],
)
def test_display_p3_becomes_srgb(p3, srgb):
    converted = to_srgb(tagged(p3, profile(P3)))
    assert np.abs(np.asarray(converted, int)[0, 0] - srgb).max() <= 3
    assert "icc_profile" not in converted.info


def test_a_gamma_and_a_table_are_curves_too():
    gamma = struct.pack(">4sIIH", b"curv", 0, 1, round(1.8 * 256))
    table = struct.pack(">4sII256H", b"curv", 0, 256, *(round((i / 255) ** 1.8 * 65535) for i in range(256)))
    pixels = [
        np.asarray(to_srgb(tagged((200, 120, 80), profile(SRGB, curve))), int)[0, 0]
        for curve in (gamma, table)
    ]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1
    expected = [((c / 255) ** 1.8) ** (1 / 2.2) * 255 for c in (200, 120, 80)]
    assert np.abs(pixels[0] - expected).max() <= 4


@pytest.mark.parametrize(
    "icc",
    [
        profile(SRGB),
        b"",
        b"nonsense",
        profile(P3)[:200],
        profile(P3, space=b"CMYK"),
        profile([[0, 0, 0]] * 3),
        profile(P3, curve=b"????" + bytes(20)),
        profile(P3, curve=struct.pack(">4sIHH7i", b"para", 0, 9, 0, *[1] * 7)),
        profile(P3)[:128] + struct.pack(">I", 3) + profile(P3)[132:],
    ],
)
def test_srgb_itself_and_profiles_that_cannot_be_read_change_nothing(icc):
    converted = to_srgb(tagged((200, 120, 80), icc))
    assert tuple(np.asarray(converted)[0, 0]) == (200, 120, 80)


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F", "RGBa", "RGBX"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_gray_or_rgb(mode):
    base = {"I": "L", "F": "L", "RGBa": "RGBA"}.get(mode, mode)
    picture = images.in_mode(images.photo(20, 10), base)
    picture = picture if base == mode else picture.convert(mode)
    plain, alpha = split_alpha(picture)
    assert plain.mode in ("L", "RGB")
    assert plain.size == (20, 10)
    assert alpha is None or alpha.mode == "L"
    assert np.asarray(plain).std() > 3


def test_a_mode_that_has_no_way_to_rgb_is_unsupported():
    picture = images.in_mode(images.photo(20, 10), "LA").convert("La")
    with pytest.raises(Failure, match="image_unsupported"):
        split_alpha(picture)


def test_alpha_goes_and_comes_back():
    picture = images.in_mode(images.photo(20, 10), "RGBA")
    plain, alpha = split_alpha(picture)
    assert np.array_equal(np.asarray(with_alpha(plain, alpha)), np.asarray(picture))


def test_alpha_that_hides_nothing_is_dropped():
    picture = images.photo(20, 10)
    opaque = picture.copy()
    opaque.putalpha(255)
    plain, alpha = split_alpha(opaque)
    assert alpha is None
    assert np.array_equal(np.asarray(plain), np.asarray(picture))


@pytest.mark.parametrize(("highest", "scale"), [(1.0, 255), (255.0, 1), (65535.0, 255 / 65535)])
def test_floating_point_gray_is_scaled_by_its_range(highest, scale):
    values = np.linspace(0, highest, 200, dtype=np.float32).reshape(10, 20)
    plain, _ = split_alpha(PIL.Image.fromarray(values))
    assert np.abs(np.asarray(plain, float) - values * scale).max() <= 0.51


def test_not_a_number_is_black():
    plain, _ = split_alpha(PIL.Image.fromarray(np.full((3, 3), np.nan, np.float32)))
    assert np.asarray(plain).max() == 0
