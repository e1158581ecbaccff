"""`Image.open()`: good pictures of every kind, and hostile ones, each refused with its code."""

import io
import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest

from safelight.pipelines import Failure
from support import images

GOOD = {
    "jpeg": images.jpeg(64, 48),
    "png": images.png(64, 48),
    "png16": images.png(64, 48, 0, "I;16"),
    "palette": images.png(64, 48, 0, "P"),
    "alpha": images.png(64, 48, 0, "RGBA"),
    "webp": images.webp(64, 48),
    "gif": images.gif(64, 48),
    "tiff": images.tiff(64, 48),
    "cmyk": images.tiff(64, 48, 0, "CMYK"),
    "bmp": images.bmp(64, 48),
}


def code_of(image) -> str:
    with pytest.raises(Failure) as caught:
        image.open()
    return caught.value.code


@pytest.mark.parametrize("kind", GOOD)
def test_every_accepted_format_is_decoded(kind, image):
    picture = image(GOOD[kind]).open()
    assert picture.size == (64, 48)
    assert np.asarray(picture).size > 0


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (10_000, 50)])
def test_tiny_and_panoramic_pictures_are_decoded(size, image):
    assert image(images.jpeg(*size)).open().size == size


DAMAGED = {
    "empty": b"",
    "text": b"This is not a picture, whatever its name says.\n" * 20,
    "html": b"<html><script>alert(1)</script></html>",
    "truncated": images.truncated_jpeg(),
    "truncated png": images.png(200, 100)[:-2000],
    "truncated webp": images.webp(200, 100)[:-300],
    "truncated gif": images.gif(200, 100)[:-4000],
    "truncated tiff": images.tiff(200, 100)[:-20000],
    "truncated bmp": images.bmp(200, 100)[:-20000],
    "header alone": images.jpeg(64, 48)[:20],
    "magic alone": b"\xff\xd8\xff",
    "png of nothing": b"\x89PNG\r\n\x1a\n",
    # Formats that Pillow could open, and that are not on the list.
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
    "ppm": b"P6 2 2 255\n" + bytes(12),
    "psd": b"8BPS\x00\x01" + bytes(30),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_cannot_be_decoded_is_damaged(kind, image):
    assert code_of(image(DAMAGED[kind])) == "image_damaged"


@pytest.mark.parametrize("cut", range(10, 90, 7))
def test_a_jpeg_is_refused_wherever_it_was_cut(cut, image):
    whole = images.jpeg(320, 240)
    assert code_of(image(whole[: len(whole) * cut // 100])) == "image_damaged"


@pytest.mark.parametrize(
    "data",
    [images.gif_header_65535(), images.bomb_png(12_000), images.jpeg(10_000, 5_000)],
    ids=["gif", "png", "jpeg"],
)
def test_a_bomb_is_refused_from_its_header(data, image):
    assert code_of(image(data)) == "image_too_many_pixels"


def test_the_cap_is_exact(image):
    data = images.png(100, 50)
    assert image(data, max_pixels=5000).open().size == (100, 50)
    assert code_of(image(data, max_pixels=4999)) == "image_too_many_pixels"


def test_a_large_picture_under_the_cap_raises_no_bomb_warning_of_pillows_own(image):
    usual = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = 1000
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert image(images.jpeg(320, 240)).open().size == (320, 240)
        assert [one for one in caught if issubclass(one.category, PIL.Image.DecompressionBombWarning)] == []
        assert PIL.Image.MAX_IMAGE_PIXELS == 1000  # left as it was found
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = usual


def test_too_many_frames_are_refused(image):
    data = images.gif(16, 16, frames=12)
    assert image(data, max_frames=12).open().size == (16, 16)
    assert code_of(image(data, max_frames=11)) == "image_too_many_frames"


@pytest.mark.parametrize(
    ("draft", "decoded"),
    [
        ((1024, 768), (2000, 1500)),
        ((300, 225), (500, 375)),
        ((2000, 1500), (4000, 3000)),
        ((1, 1), (500, 375)),
    ],
)
def test_a_draft_leaves_half_as_much_again_on_both_sides(draft, decoded, image):
    assert image(images.jpeg(4000, 3000)).open(draft=draft).size == decoded


def test_a_draft_changes_nothing_for_other_formats(image):
    assert image(images.png(400, 300)).open(draft=(10, 10)).size == (400, 300)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_on_request(orientation, image):
    stored = image(images.jpeg(64, 48, orientation=orientation))
    turned = stored.open(upright=True)
    assert stored.open().size == (64, 48)
    assert turned.size == ((48, 64) if orientation >= 5 else (64, 48)) == stored.size(upright=True)
    assert stored.size() == (64, 48)
    assert stored.orientation() == orientation
    # The pixel that was in the top left corner is where the orientation says.
    corner = np.asarray(stored.open().convert("L"), float)[:6, :6].mean()
    rows, columns = np.asarray(turned.convert("L"), float), slice(None, 6)
    top, left = orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8)
    rows = rows if top else rows[::-1]
    rows = rows if left else rows[:, ::-1]
    assert rows[:6, columns].mean() == pytest.approx(corner, abs=3)
    assert turned.getexif().get(0x0112, 1) == 1


def test_a_draft_of_a_turned_picture_is_meant_upright(image):
    stored = image(images.jpeg(4000, 3000, orientation=6))
    assert stored.open(draft=(768, 1024), upright=True).size == (1500, 2000)


@pytest.mark.parametrize(
    "exif", [b"Exif\x00\x00", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"Exif\x00\x00II*\x00" + b"\xff" * 60]
)
def test_damaged_exif_is_no_reason_to_refuse_a_picture(exif, image):
    buffer = io.BytesIO()
    images.photo(64, 48).save(buffer, "JPEG", exif=exif)
    assert image(buffer.getvalue()).open(upright=True).size == (64, 48)


def test_a_text_bomb_in_a_png_is_refused(image):
    text = b"k\x00\x00" + zlib.compress(bytes(80_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    whole = images.png(64, 48)
    assert code_of(image(whole[:33] + chunk + whole[33:])) == "image_damaged"


def test_a_changed_byte_ends_in_a_picture_or_a_typed_failure(image):
    whole = images.png(24, 16)
    dice = np.random.default_rng(3)
    codes = set()
    for _ in range(300):
        data = bytearray(whole)
        data[int(dice.integers(len(data)))] = int(dice.integers(256))
        try:
            image(bytes(data)).open(upright=True)
        except Failure as failure:
            codes.add(failure.code)
    assert "image_damaged" in codes
    assert codes <= {"image_damaged", "image_too_many_pixels"}
