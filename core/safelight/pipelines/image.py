"""One input image, and the only way in which it is decoded: `Image.open()`.

Images are hostile. What Pillow's own threat model (docs/handbook/security) asks for stands here: an
allow-list of formats, bomb warnings as errors, a ceiling on pixels and frames before anything is decoded,
and no leniency towards truncated files. The process limits around it are the child's.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from safelight.errors import Failure

if TYPE_CHECKING:
    import PIL.Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
MAX_FRAMES = 200
DRAFT_HEAD_ROOM = 1.5
ORIENTATION = 0x0112  # the EXIF tag


class Image(msgspec.Struct, frozen=True):
    """An input: where it lies, and what its header said when it was uploaded.

    `width` and `height` are pixels as stored, before any EXIF orientation; `bytes` is the file's size.
    """

    path: Path
    name: str
    media_type: str
    width: int
    height: int
    bytes: int
    max_pixels: int = 40_000_000
    max_frames: int = MAX_FRAMES

    def limited(self, max_pixels: int) -> "Image":
        """The same image under a pipeline's pixel cap."""
        return msgspec.structs.replace(self, max_pixels=max_pixels)

    def size(self, *, upright: bool = False) -> tuple[int, int]:
        """Width and height from the file's header, and turned as its EXIF says when that is asked.

        Raises:
            Failure: `image_damaged` or `image_too_many_pixels`.
        """
        with _guarded(self.max_pixels), self._header() as picture:
            turned = upright and _orientation(picture) >= 5
            return picture.size[::-1] if turned else picture.size

    def orientation(self) -> int:
        """The EXIF orientation, 1 (upright) to 8.

        Raises:
            Failure: `image_damaged` or `image_too_many_pixels`.
        """
        with _guarded(self.max_pixels), self._header() as picture:
            return _orientation(picture)

    def open(self, *, draft: tuple[int, int] | None = None, upright: bool = False) -> "PIL.Image.Image":
        """Decode the image (of an animation, the first frame) in its own mode.

        Args:
            draft: the width and height that are needed in the end. A JPEG is then decoded at 1/2, 1/4 or
                1/8 of its size where that leaves 1.5 times as much on both sides: several times faster.
            upright: turn the picture as its EXIF orientation says; `draft` is then meant upright too.

        Raises:
            Failure: `image_damaged`, `image_too_many_pixels` or `image_too_many_frames`.
        """
        with _guarded(self.max_pixels):
            picture = self._header()
            if getattr(picture, "n_frames", 1) > self.max_frames:
                raise Failure("image_too_many_frames")
            if draft:
                _draft(picture, draft, upright=upright)
            picture.load()
            return _upright(picture) if upright else picture

    def _header(self) -> "PIL.Image.Image":
        import PIL.Image  # noqa: PLC0415 - only the child, and only for a picture, loads Pillow

        picture: PIL.Image.Image = PIL.Image.open(self.path, formats=FORMATS)
        if picture.width * picture.height > self.max_pixels:
            raise Failure("image_too_many_pixels")
        return picture


@contextmanager
def _guarded(max_pixels: int) -> Iterator[None]:
    """Pillow with its bomb check at our cap, and its many exceptions turned into ours."""
    import PIL.Image  # noqa: PLC0415

    usual, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            yield
    except (Failure, MemoryError):
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise Failure("image_too_many_pixels") from error
    except Exception as error:
        # Decoders answer to damage with OSError, SyntaxError, ValueError, struct.error, IndexError, ...
        raise Failure("image_damaged") from error
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = usual


def _draft(picture: "PIL.Image.Image", size: tuple[int, int], *, upright: bool) -> None:
    # `thumbnail()` would ask for a square and so decode far more: measured, half the speed.
    width, height = size[::-1] if upright and _orientation(picture) >= 5 else size
    picture.draft(None, (max(1, round(width * DRAFT_HEAD_ROOM)), max(1, round(height * DRAFT_HEAD_ROOM))))


def _orientation(picture: "PIL.Image.Image") -> int:
    """1 to 8; damaged EXIF is no reason to refuse a picture, and counts as 1."""
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # the EXIF parser raises whatever the bytes lead it to
        return 1
    return value if value in range(1, 9) else 1


def _upright(picture: "PIL.Image.Image") -> "PIL.Image.Image":
    from PIL.Image import Transpose  # noqa: PLC0415

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(_orientation(picture))
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    turned.format = picture.format  # transpose() forgets it
    turned.info = {key: value for key, value in picture.info.items() if key != "exif"}
    with suppress(Exception):  # EXIF that cannot be written again is left out
        exif = picture.getexif()
        exif[ORIENTATION] = 1  # who keeps the EXIF must not turn the picture twice
        turned.info["exif"] = exif.tobytes()
    return turned
