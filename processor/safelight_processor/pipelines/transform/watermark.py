"""Text over a picture, in the font that Pillow brings along. `transform` calls it last."""

import PIL.Image
from PIL import ImageColor, ImageDraw, ImageFont
from PIL.Image import Resampling

from safelight_processor.pipelines.transform.params import Watermark

MARGIN = 0.02  # of the shorter side
LARGEST_FONT = 600  # px; the mask of larger text is enlarged


def watermark(picture: PIL.Image.Image, wanted: Watermark) -> PIL.Image.Image:
    """The picture with the text on it; the text always fits in."""
    mask = _mask(wanted.text, max(1, round(picture.width * wanted.size)), picture.height)
    mask = mask.point([round(value * wanted.opacity) for value in range(256)])
    marked = picture.convert("RGBA" if picture.mode == "RGBA" else "RGB")
    ink = PIL.Image.new(marked.mode, mask.size, (*ImageColor.getrgb(wanted.color), 255)[: len(marked.mode)])
    place = _place(picture.size, mask.size, wanted.position)
    marked.paste(ink, place, mask)
    return marked


def _mask(text: str, width: int, height: int) -> PIL.Image.Image:
    """The text as a mask of this width, or narrower where it would be higher than the picture."""
    font = _font(100.0)
    measured = font.getbbox(text)
    across = max(1.0, measured[2] - measured[0])
    font = _font(min(max(100.0 * width / across, 8.0), LARGEST_FONT))
    left, top, right, bottom = font.getbbox(text)
    mask = PIL.Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    scale = min(width / mask.width, height / mask.height)
    size = (max(1, round(mask.width * scale)), max(1, min(height, round(mask.height * scale))))
    return mask if mask.size == size else mask.resize(size, Resampling.LANCZOS)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except ImportError:  # Pillow built without FreeType: its bitmap font, enlarged
        return ImageFont.load_default_imagefont()


def _place(picture: tuple[int, int], text: tuple[int, int], position: str) -> tuple[int, int]:
    margin = round(min(picture) * MARGIN)
    spare = (picture[0] - text[0], picture[1] - text[1])
    x = 0 if "left" in position else 2 if "right" in position else 1
    y = 0 if "top" in position else 2 if "bottom" in position else 1
    across, down = (_along(where, room, margin) for where, room in ((x, spare[0]), (y, spare[1])))
    return across, down


def _along(where: int, room: int, margin: int) -> int:
    """Offset at the start (0), in the middle (1) or at the end (2) of the room that is left."""
    margin = min(margin, max(0, room) // 2)
    return max(0, (margin, room // 2, room - margin)[where])
