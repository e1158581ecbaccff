"""Any picture that Pillow can open, as 8-bit gray or RGB and, apart from it, its alpha.

Both pipelines call it right after decoding, so that everything behind it knows two modes only.
"""

import numpy as np
import PIL.Image

from safelight.errors import Failure


def split_alpha(picture: PIL.Image.Image) -> tuple[PIL.Image.Image, PIL.Image.Image | None]:
    """The picture in mode L or RGB, and its alpha in mode L; no alpha where nothing is transparent.

    Raises:
        Failure: `image_unsupported`: a color space that has no way to RGB.
    """
    if picture.mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture, None
    if picture.mode[0] in "IF":
        return _eight_bits(picture), None
    if not picture.has_transparency_data:
        return _convert(picture, "L" if picture.mode in ("1", "L", "LA") else "RGB"), None
    whole = _convert(picture, "RGBA")
    alpha = whole.getchannel("A")
    lowest = alpha.getextrema()[0]
    return whole.convert("RGB"), (None if lowest == 255 else alpha)


def with_alpha(picture: PIL.Image.Image, alpha: PIL.Image.Image | None) -> PIL.Image.Image:
    """The reverse of `split_alpha`: RGBA, or the picture itself when there is no alpha."""
    if alpha is None:
        return picture
    whole = picture.convert("RGB")
    whole.putalpha(alpha)
    return whole


def _convert(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    try:
        converted = picture.convert(mode)
    except ValueError as error:
        raise Failure("image_unsupported") from error
    # convert() keeps the palette's own idea of transparency; it is in the alpha by now.
    converted.info.pop("transparency", None)
    return converted


def _eight_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """16-bit, 32-bit and floating-point gray as 8 bits. Pillow's own convert() would cut off at 255."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float32))
    highest = float(values.max())
    if picture.mode.startswith("I;16") or highest > 255:
        values = values * np.float32(255 / max(65535.0, highest))
    elif picture.mode == "F" and highest <= 1:
        values = values * np.float32(255)
    return PIL.Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
