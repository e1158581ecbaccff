"""What kind of image, how wide, how high: from the header, in plain Python, without decoding anything.

`receive` feeds a `Sniffer` while bytes go by; it keeps only what the next step needs, so a photo with
megabytes of metadata before its frame header costs no memory. `sniff` is the same for bytes at hand.

Each format is a generator that asks for spans of the file, always further on, and returns a `Header`.
Work is bounded: by steps, by the length of a span, and by how far into the file a header may lie.
"""

import zlib
from collections.abc import Callable, Generator
from struct import unpack, unpack_from
from typing import NamedTuple

import msgspec

from safelight.errors import Failure

MiB = 1024 * 1024

# Phones put depth maps and a second picture before the frame header of a JPEG: many MiB of 64 KiB segments.
_FURTHEST = 32 * MiB
_STEPS = 10_000
_MOST_TAGS = 4096  # of a TIFF directory: 48 KiB
_MAGIC = 12  # no image of ours is shorter


class Header(msgspec.Struct, frozen=True):
    """What a header tells; sides in pixels, never 0. `frames` is None for "perhaps several"."""

    media_type: str
    width: int
    height: int
    frames: int | None = 1


class More(NamedTuple):
    """These bytes of the file are needed to go on."""

    offset: int
    length: int


_Reader = Generator[More, bytes, Header]


class Sniffer:
    """Is fed the file from its beginning, piece by piece, until `header` is there."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self._reader = _image()
        self._wanted = next(self._reader)
        self._held = bytearray()  # from offset `_at` of the file on
        self._at = 0

    @property
    def wanted(self) -> More:
        """What the next step needs."""
        return self._wanted

    def feed(self, data: bytes) -> Header | None:
        """Takes the next bytes of the file; answers the header as soon as it is known.

        Raises:
            Failure: `image_unsupported` or `image_unreadable`.
        """
        if self.header is not None:
            return self.header
        self._held += data
        while self._fits():
            try:
                self._wanted = self._reader.send(self._take())
            except StopIteration as stop:
                self.header = stop.value
                self._held.clear()
                return self.header
        return None

    def end(self) -> Header:
        """The file is over.

        Raises:
            Failure: its header is not complete: `image_unreadable`, or `image_unsupported` when it is none.
        """
        if self.header is None:
            known = self._at > 0 or self._wanted.offset > 0 or _format(bytes(self._held)) is not None
            raise Failure("image_unreadable" if known else "image_unsupported")
        return self.header

    def _fits(self) -> bool:
        skipped = min(len(self._held), self._wanted.offset - self._at)
        del self._held[:skipped]
        self._at += skipped
        return self._at == self._wanted.offset and len(self._held) >= self._wanted.length

    def _take(self) -> bytes:
        return bytes(self._held[: self._wanted.length])


def sniff(prefix: bytes) -> Header | More:
    """The header of a file that begins with `prefix`, or which bytes are needed to tell.

    Raises:
        Failure: `image_unsupported` or `image_unreadable`.
    """
    sniffer = Sniffer()
    return sniffer.feed(prefix) or sniffer.wanted


def _image() -> _Reader:
    start = yield More(0, _MAGIC)
    read = _format(start)
    if read is None:
        raise Failure("image_unsupported")
    reader = read()
    wanted = next(reader)
    for _ in range(_STEPS):
        if read is not _tiff and wanted.offset + wanted.length > _FURTHEST:
            break
        data = yield wanted
        try:
            wanted = reader.send(data)
        except StopIteration as stop:
            return _checked(stop.value)
    raise Failure("image_unreadable")


def _format(start: bytes) -> Callable[[], _Reader] | None:
    if start.startswith(b"RIFF"):
        return _webp if start[8:12] == b"WEBP" else None
    for magic, reader in _MAGICS.items():
        if start.startswith(magic):
            return reader
    return None


def _checked(header: Header) -> Header:
    if header.width < 1 or header.height < 1:
        raise Failure("image_unreadable")
    return header


def _unreadable_unless(fine: bool) -> None:
    if not fine:
        raise Failure("image_unreadable")


# JPEG (ITU T.81, annex B): markers, most with a segment behind them; the frame header tells the size.

_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # those three are tables
_TOO_LATE = {0xD8, 0xD9, 0xDA}  # a second start, the end, the pixels


def _jpeg() -> _Reader:
    at = 2
    while True:
        mark, marker = yield More(at, 2)
        if mark != 0xFF or marker in (0x00, 0xFF):
            at += 1  # fill bytes, or rubbish between segments, over which decoders go as well
            continue
        at += 2
        if marker in _ALONE:
            continue
        _unreadable_unless(marker not in _TOO_LATE)
        if marker in _FRAME_HEADERS:
            length, _, height, width = unpack(">HBHH", (yield More(at, 7)))
            _unreadable_unless(length >= 8)
            return Header("image/jpeg", width, height)
        (length,) = unpack(">H", (yield More(at, 2)))
        _unreadable_unless(length >= 2)
        at += length


# PNG (W3C): IHDR comes first; an APNG tells its frames in acTL, before the pixels.


def _png() -> _Reader:
    length, name, width, height, checksum = unpack(">I4sII5xI", (yield More(8, 25)))
    body = yield More(12, 17)
    _unreadable_unless(name == b"IHDR" and length == 13 and checksum == zlib.crc32(body))
    _unreadable_unless(max(width, height) < 2**31)
    return Header("image/png", width, height, (yield from _png_frames()))


def _png_frames() -> Generator[More, bytes, int | None]:
    at = 33
    for _ in range(1000):
        if at + 12 > _FURTHEST:
            break
        length, name = unpack(">I4s", (yield More(at, 8)))
        if name == b"acTL" and length == 8:
            frames: int = unpack(">I", (yield More(at + 8, 4)))[0]
            _unreadable_unless(frames > 0)
            return frames
        if name in (b"IDAT", b"IEND"):
            return 1
        at += length + 12
    return None


# GIF (89a): the screen; and the first frame, as decoders grow the screen to what it really needs.


def _gif() -> _Reader:
    width, height, flags = unpack("<HHB", (yield More(6, 5)))
    at = 13 + _color_table(flags)
    while True:
        (kind,) = yield More(at, 1)
        if kind == 0x2C:
            left, top, wide, high = unpack("<HHHH", (yield More(at + 1, 8)))
            return Header("image/gif", max(width, left + wide), max(height, top + high), None)
        _unreadable_unless(kind == 0x21)
        at += 2
        while size := (yield More(at, 1))[0]:  # the blocks of an extension, ended by an empty one
            at += 1 + size
        at += 1


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


# WebP (RFC 9649): lossy, lossless, or extended, which has the size of the canvas.


def _webp() -> _Reader:
    name = yield More(12, 4)
    if name == b"VP8 ":
        tag, start, width, height = unpack("<3s3sHH", (yield More(20, 10)))
        _unreadable_unless(start == b"\x9d\x01\x2a" and tag[0] & 1 == 0)
        return Header("image/webp", width & 0x3FFF, height & 0x3FFF)
    if name == b"VP8L":
        mark, bits = unpack("<BI", (yield More(20, 5)))
        _unreadable_unless(mark == 0x2F and bits >> 29 == 0)
        return Header("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    _unreadable_unless(name == b"VP8X")
    body = yield More(20, 10)
    width, height = (int.from_bytes(body[n : n + 3], "little") + 1 for n in (4, 7))
    return Header("image/webp", width, height, None if body[0] & 2 else 1)


# TIFF (6.0, classic): the first directory may lie anywhere, also behind the pixels.

_TIFF_TYPES = {3: "H", 4: "I"}


def _tiff() -> _Reader:
    order = ">" if (yield More(0, 2)) == b"MM" else "<"
    (at,) = unpack(order + "I", (yield More(4, 4)))
    _unreadable_unless(at >= 8)
    (count,) = unpack(order + "H", (yield More(at, 2)))
    _unreadable_unless(0 < count <= _MOST_TAGS)
    entries = yield More(at + 2, 12 * count)
    sides: dict[int, int] = {}
    for start in range(0, len(entries), 12):
        tag, kind, values = unpack_from(order + "HHI", entries, start)
        if tag in (256, 257):
            _unreadable_unless(kind in _TIFF_TYPES and values == 1 and tag not in sides)
            (sides[tag],) = unpack_from(order + _TIFF_TYPES[kind], entries, start + 8)
    _unreadable_unless(len(sides) == 2)
    following = any((yield More(at + 2 + 12 * count, 4)))
    return Header("image/tiff", sides[256], sides[257], None if following else 1)


# BMP: a core header (OS/2) or one of the later ones; a negative height means rows from the top.


def _bmp() -> _Reader:
    (size,) = unpack("<I", (yield More(14, 4)))
    if size == 12:
        width, height = unpack("<HH", (yield More(18, 4)))
    else:
        _unreadable_unless(size in (40, 52, 56, 64, 108, 124))
        width, height = unpack("<ii", (yield More(18, 8)))
    return Header("image/bmp", width, abs(height))


_MAGICS: dict[bytes, Callable[[], _Reader]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF87a": _gif,
    b"GIF89a": _gif,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"BM": _bmp,
}
