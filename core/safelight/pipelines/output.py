"""One output of a run: its name checked, encoded with sane defaults and without metadata.

`Run.output` calls it; the parent of the child looks at the file again before it becomes visible.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from safelight.errors import Failure

if TYPE_CHECKING:
    import PIL.Image

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}(\.[A-Za-z0-9_-]{1,20}){0,3}")

MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "json": "application/json",
    "csv": "text/csv",
    "txt": "text/plain",
    "pdf": "application/pdf",
    "zip": "application/zip",
}
IMAGE_FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
# WebP method 2 is 1.4 times faster than Pillow's 4 for 3 % more bytes (performance notes, part C).
DEFAULTS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 85},
    "WEBP": {"quality": 80, "method": 2},
    "PNG": {"compress_level": 6},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
# What an encoder can write of a mode; another mode is turned into the last of these.
MODES = {
    "JPEG": ("L", "CMYK", "RGB"),
    "WEBP": ("RGBA", "RGB"),
    "GIF": ("P", "L", "RGB"),
    "PNG": ("1", "L", "LA", "P", "RGBA", "I;16", "I", "RGB"),
    "BMP": ("1", "L", "P", "RGB"),
}
# Not metadata but pixels: without them a palette image or an animation would look different.
PIXEL_INFO = frozenset({"transparency", "background", "duration", "loop", "disposal", "blend"})
# JPEG and WebP cannot be taller or wider.
MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535}


class Output(msgspec.Struct, frozen=True):
    """A result file. `width` and `height` are pixels, or 0 where it is no image."""

    name: str
    path: Path
    media_type: str
    width: int = 0
    height: int = 0


def check_name(name: str) -> None:
    """Refuse everything but a plain file name.

    Raises:
        Failure: `output_invalid`.
    """
    if not NAME.fullmatch(name):
        raise Failure("output_invalid", f"{name[:100]!r} is no name for an output.")


def describe(name: str, path: Path, media_type: str | None) -> Output:
    """The output for a file that is already written; an image's size is read from its header.

    Raises:
        Failure: `output_invalid`: it calls itself an image and is none.
    """
    media_type = media_type or MEDIA_TYPES.get(_ending(name), "application/octet-stream")
    if media_type not in IMAGE_FORMATS.values():
        return Output(name, path, media_type)
    import PIL.Image  # noqa: PLC0415 - only where there is an image

    formats = [format_ for format_, kind in IMAGE_FORMATS.items() if kind == media_type]
    try:
        with PIL.Image.open(path, formats=formats) as picture:
            return Output(name, path, media_type, picture.width, picture.height)
    except (OSError, SyntaxError, ValueError) as error:
        raise Failure("output_invalid", f"The output {name} is no {media_type}.") from error


def encode(
    name: str,
    path: Path,
    picture: "PIL.Image.Image",
    format_: str | None,
    keep: Sequence[str],
    options: dict[str, Any],
) -> Output:
    """Write a picture as `format_`, or as what the name ends with.

    Raises:
        Failure: `output_invalid`: no such format, or the picture does not fit in it.
    """
    format_ = (format_ or MEDIA_TYPES.get(_ending(name), "").removeprefix("image/")).upper()
    if format_ not in IMAGE_FORMATS:
        raise Failure("output_invalid", f"The output {name} has no format that can be written.")
    if max(picture.size) > MAX_SIDE.get(format_, max(picture.size)):
        raise Failure("output_invalid", f"{format_} cannot hold {picture.width} x {picture.height} pixels.")
    options = {**DEFAULTS.get(format_, {}), **_kept(picture, keep), **options}
    _save(_writable(picture, format_), path, format_, options)
    return Output(name, path, IMAGE_FORMATS[format_], picture.width, picture.height)


def _save(picture: "PIL.Image.Image", path: Path, format_: str, options: dict[str, Any]) -> None:
    # Some encoders write what they find in `info` (comments, profiles, EXIF), so it is set aside.
    info = picture.info
    picture.info = {key: value for key, value in info.items() if key in PIXEL_INFO}
    try:
        picture.save(path, format=format_, **options)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Failure("output_invalid", f"The picture cannot be written as {format_}.") from error
    finally:
        picture.info = info


def _writable(picture: "PIL.Image.Image", format_: str) -> "PIL.Image.Image":
    modes = MODES.get(format_)
    if modes is None or picture.mode in modes:
        return picture
    if format_ == "WEBP" and picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert(modes[-1])


def _kept(picture: "PIL.Image.Image", keep: Sequence[str]) -> dict[str, Any]:
    names = {"icc": "icc_profile", "exif": "exif"}
    return {names[what]: picture.info[names[what]] for what in keep if picture.info.get(names[what])}


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()
