"""The header readers: they agree with Pillow, and raise nothing but `Failure` whatever comes."""

import io
import random
import struct
import zlib
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Failure
from safelight_api.upload.sniff import Header, More, Sniffer, sniff

CODES = {"image_unsupported", "image_unreadable"}


def made(format_: str, size: tuple[int, int] = (37, 21), mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, 5).save(buffer, format_, **options)
    return buffer.getvalue()


def animation(format_: str, frames: int = 3, **options: Any) -> bytes:
    buffer = io.BytesIO()
    first, *rest = (PIL.Image.new("RGB", (20, 10), (40 * n, 0, 0)) for n in range(frames))
    first.save(buffer, format_, save_all=True, append_images=rest, **options)
    return buffer.getvalue()


def whole(body: bytes) -> Header:
    sniffer = Sniffer()
    sniffer.feed(body)
    return sniffer.end()


def refusal(body: bytes) -> str:
    with pytest.raises(Failure) as caught:
        whole(body)
    return caught.value.code


def judge(body: bytes) -> None:
    """Either a header with sides, or one of the two refusals; anything else that is raised fails the test."""
    code = ""
    try:
        header = whole(body)
    except Failure as failure:
        code = failure.code
    assert code in CODES or min(header.width, header.height) > 0


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


SIZES = [(1, 1), (1, 300), (257, 3), (4000, 1), (255, 256)]
FORMATS: list[tuple[str, str, dict[str, Any]]] = [
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {"optimize": True}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "1", {}),
    ("GIF", "P", {}),
    ("GIF", "L", {"comment": b"x" * 1000}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {"lossless": True, "exif": b"Exif\0\0" + b"x" * 99}),
    ("WEBP", "RGBA", {"quality": 50}),
    ("TIFF", "RGB", {}),
    ("TIFF", "L", {"compression": "tiff_lzw"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("BMP", "RGB", {}),
    ("BMP", "1", {}),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("format_", "mode", "options"), FORMATS)
def test_what_pillow_writes_is_read_as_pillow_reads_it(
    format_: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    body = made(format_, size, mode, **options)
    header = whole(body)
    assert (header.media_type, (header.width, header.height)) == (f"image/{format_.lower()}", size)


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize(("format_", "mode", "options"), FORMATS)
def test_how_the_file_is_cut_makes_no_difference(
    format_: str, mode: str, options: dict[str, Any], piece: int
) -> None:
    body = made(format_, (90, 50), mode, **options)
    sniffer = Sniffer()
    for start in range(0, len(body), piece):
        if sniffer.feed(body[start : start + piece]):
            break
    assert sniffer.end() == whole(body)


@pytest.mark.parametrize(("format_", "mode", "options"), FORMATS)
def test_a_file_that_ends_anywhere_is_whole_or_refused(
    format_: str, mode: str, options: dict[str, Any]
) -> None:
    body = made(format_, (90, 50), mode, **options)
    complete, refused = whole(body), set()
    for length in range(len(body)):
        try:
            assert whole(body[:length]) == complete
        except Failure as failure:
            refused.add(failure.code)
    assert "image_unreadable" in refused
    assert refused <= CODES
    assert refusal(body[:1]) == "image_unsupported"


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_but_a_failure(body: bytes) -> None:
    assert refusal(body) in CODES


MAGICS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8 "]
MAGICS += [b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"BM"]


@given(st.sampled_from(MAGICS), st.binary(max_size=600))
def test_arbitrary_bytes_after_a_known_beginning_raise_nothing_but_a_failure(
    magic: bytes, rest: bytes
) -> None:
    judge(magic + rest)


@given(st.integers(0, len(FORMATS) - 1), st.integers(0, 2**32), st.binary(min_size=1, max_size=3))
def test_a_damaged_file_raises_nothing_but_a_failure(index: int, where: int, damage: bytes) -> None:
    format_, mode, options = FORMATS[index]
    body = bytearray(made(format_, (30, 20), mode, **options))
    start = where % min(len(body), 400)
    body[start : start + len(damage)] = damage
    judge(bytes(body))


@pytest.mark.parametrize(("format_", "frames"), [("PNG", 3), ("WEBP", None), ("GIF", None), ("TIFF", None)])
def test_an_animation_is_told_from_a_single_picture(format_: str, frames: int | None) -> None:
    assert whole(animation(format_)).frames == frames
    assert whole(animation(format_)).width == 20
    if format_ != "GIF":
        assert whole(made(format_)).frames == 1


# JPEG


def test_megabytes_of_metadata_before_the_frame_header_are_stepped_over_and_not_held() -> None:
    body = made("JPEG", (640, 480))
    exif = b"".join(segment(0xE1, random.Random(n).randbytes(65_533)) for n in range(300))
    body = body[:2] + exif + body[2:]
    sniffer, largest = Sniffer(), 0
    for start in range(0, len(body), 50_000):
        sniffer.feed(body[start : start + 50_000])
        largest = max(largest, len(sniffer._held))
    assert (sniffer.end().width, sniffer.end().height) == (640, 480)
    assert largest <= 50_000 + 12


def test_a_thumbnail_inside_the_metadata_is_not_taken_for_the_picture() -> None:
    body, thumbnail = made("JPEG", (640, 480)), made("JPEG", (8, 8))
    assert whole(body[:2] + segment(0xE1, thumbnail) + body[2:]).width == 640


def test_fill_bytes_lone_markers_and_rubbish_between_segments_are_stepped_over() -> None:
    body = made("JPEG", (640, 480))
    assert (
        whole(body[:2] + b"\xff\xff\xff\xff\x01" + b"\xff\xd0" + b"\0rubbish\xff\0" + body[2:]).width == 640
    )


def test_a_jpeg_that_never_shows_its_frame_header_is_given_up() -> None:
    assert refusal(b"\xff\xd8" + segment(0xE2, bytes(65_533)) * 600 + made("JPEG")) == "image_unreadable"


@pytest.mark.parametrize("filler", [b"\xff", b"\0", segment(0xFE, b""), b"\xff\x01"])
def test_a_jpeg_of_nothing_but_small_steps_is_given_up(filler: bytes) -> None:
    assert refusal(b"\xff\xd8\xff" + filler * 20_000 + made("JPEG")) == "image_unreadable"


@pytest.mark.parametrize("marker", [0xD8, 0xD9, 0xDA])
def test_a_jpeg_without_a_frame_header_is_unreadable(marker: int) -> None:
    assert refusal(b"\xff\xd8\xff\xe0\0\2" + bytes([0xFF, marker]) + made("JPEG")) == "image_unreadable"


def test_a_jpeg_segment_shorter_than_its_own_length_is_unreadable() -> None:
    assert refusal(b"\xff\xd8\xff\xe0\0\1" + made("JPEG")) == "image_unreadable"


@pytest.mark.parametrize("sides", [(0, 5), (5, 0)])
def test_a_jpeg_with_a_side_of_zero_is_unreadable(sides: tuple[int, int]) -> None:
    frame = segment(0xC0, struct.pack(">BHHB", 8, *sides, 1) + b"\1\x11\0")
    assert refusal(b"\xff\xd8" + frame + bytes(20)) == "image_unreadable"


# PNG


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_png_tells_the_size_it_claims_however_large() -> None:
    assert whole(png(2**31 - 1, 7)) == Header("image/png", 2**31 - 1, 7, 1)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (2**31, 1)])
def test_a_png_with_an_impossible_side_is_unreadable(width: int, height: int) -> None:
    assert refusal(png(width, height)) == "image_unreadable"


def test_a_png_whose_header_checksum_is_wrong_is_unreadable() -> None:
    body = bytearray(png(5, 5))
    body[20] ^= 1
    assert refusal(bytes(body)) == "image_unreadable"


def test_a_png_with_a_large_profile_is_read_and_its_frames_counted() -> None:
    profile = chunk(b"iCCP", bytes(500_000))
    assert whole(png(5, 5, profile, chunk(b"acTL", struct.pack(">II", 10_000, 0)))).frames == 10_000
    assert whole(png(5, 5, profile)).frames == 1


def test_a_png_of_nothing_but_small_chunks_says_that_it_does_not_know_its_frames() -> None:
    assert whole(png(5, 5, chunk(b"tEXt", b"a") * 5000)) == Header("image/png", 5, 5, None)


# GIF, WebP, TIFF, BMP


def test_a_gif_that_hides_a_large_frame_in_a_small_screen_is_measured_by_the_frame() -> None:
    body = bytearray(made("GIF", (20, 10)))
    frame = body.index(b"\x2c", 13 + (3 << (body[10] & 7) + 1))
    body[frame + 5 : frame + 9] = struct.pack("<HH", 6_000, 5_000)
    header = whole(bytes(body))
    assert (header.width, header.height) == (6_000, 5_000)
    assert PIL.Image.open(io.BytesIO(body)).size == (6_000, 5_000)


def test_a_gif_without_a_frame_is_unreadable() -> None:
    assert refusal(b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b";" * 20) == "image_unreadable"


def test_a_webp_of_an_unknown_kind_is_unreadable() -> None:
    assert refusal(b"RIFF\x20\0\0\0WEBPVP9 " + bytes(40)) == "image_unreadable"


def tiff(order: str, offset: int, tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = mark + struct.pack(order + "I", offset) + bytes(max(0, offset - 8))
    body += struct.pack(order + "H", len(tags))
    for tag, kind, count, value in tags:
        # A short value stands at the beginning of its four bytes.
        packed = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
        body += struct.pack(order + "HHI", tag, kind, count) + packed
    return body + struct.pack(order + "I", following)


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_directory_is_found_wherever_it_lies(order: str) -> None:
    for offset in (8, 9, 70_000, 40 * 2**20):
        body = tiff(order, offset, [(254, 4, 1, 0), (256, 3, 1, 640), (257, 4, 1, 70_000)])
        assert whole(body) == Header("image/tiff", 640, 70_000, 1)


def test_of_a_tiff_whose_directory_is_far_away_the_caller_is_told_what_is_needed() -> None:
    body = tiff("<", 40_000, [(256, 3, 1, 5), (257, 3, 1, 5)])
    assert sniff(body[:100]) == More(40_000, 2)
    assert sniff(body) == Header("image/tiff", 5, 5, 1)


@pytest.mark.parametrize(
    "tags",
    [
        [],
        [(256, 3, 1, 5)],
        [(256, 3, 2, 5), (257, 3, 1, 5)],
        [(256, 7, 1, 5), (257, 3, 1, 5)],
        [(256, 3, 1, 5), (256, 3, 1, 50_000), (257, 3, 1, 5)],
        [(256, 3, 1, 0), (257, 3, 1, 5)],
    ],
)
def test_a_tiff_that_does_not_tell_its_sides_once_is_unreadable(
    tags: list[tuple[int, int, int, int]],
) -> None:
    assert refusal(tiff("<", 8, tags)) == "image_unreadable"


def test_a_tiff_with_more_tags_than_any_has_is_unreadable() -> None:
    assert refusal(b"II*\0\x08\0\0\0\xff\xff" + bytes(800_000)) == "image_unreadable"


def bmp(size: int, sides: bytes) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<I", size) + sides + bytes(100)


def test_a_bmp_is_read_by_each_of_its_headers() -> None:
    assert whole(bmp(12, struct.pack("<HH", 60_000, 9))) == Header("image/bmp", 60_000, 9)
    for size in (40, 52, 56, 64, 108, 124):
        assert whole(bmp(size, struct.pack("<ii", 7, -9))) == Header("image/bmp", 7, 9)


@pytest.mark.parametrize("body", [bmp(41, bytes(8)), bmp(40, struct.pack("<ii", -7, 9)), bmp(40, bytes(8))])
def test_a_bmp_with_an_impossible_header_is_unreadable(body: bytes) -> None:
    assert refusal(body) == "image_unreadable"


# What is no image of ours

STRANGERS = {
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf": b"%PDF-1.7\n" + bytes(50),
    "html": b"<!doctype html><script>alert(1)</script>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "eps with a preview": b"\xc5\xd0\xd3\xc6" + bytes(50),
    "psd": b"8BPS\0\1" + bytes(50),
    "ico": b"\0\0\1\0\1\0" + bytes(50),
    "heic": b"\0\0\0\x18ftypheic" + bytes(50),
    "avif": b"\0\0\0\x1cftypavif" + bytes(50),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50),
    "bigtiff": b"II+\0\x08\0\0\0" + bytes(50),
    "zip": b"PK\3\4" + bytes(50),
    "gzip": b"\x1f\x8b\x08" + bytes(50),
    "text": b"hello, this is not an image at all",
    "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(50),
    "gif of another age": b"GIF88a" + bytes(50),
    "nothing": b"",
    "one byte": b"\xff",
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_no_image_of_ours_is_unsupported(kind: str) -> None:
    assert refusal(STRANGERS[kind]) == "image_unsupported"
