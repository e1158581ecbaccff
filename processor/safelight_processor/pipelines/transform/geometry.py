"""Pure: which part of the upright picture an output shows, and how large it is in the end.

Everything is clamped here, because Pillow has been hurt by boxes that reach beyond a picture
(CVE-2026-59199 and others): it only ever sees boxes inside it, and sizes from 1 px up to the cap.
"""

import msgspec

from safelight.errors import Failure
from safelight_processor.pipelines.transform.params import Box, Derivative

Size = tuple[int, int]

MAX_OUTPUT_PIXELS = 50_000_000


class Plan(msgspec.Struct, frozen=True):
    """`box` is left, top, right, bottom in the picture; `size` is that of the result before it is turned."""

    box: tuple[float, float, float, float]
    size: Size

    def scaled(self, size: Size, decoded: Size) -> "Plan":
        """The same plan for a picture that was decoded smaller than it is."""
        x, y = decoded[0] / size[0], decoded[1] / size[1]
        left, top, right, bottom = self.box
        box = (left * x, top * y, min(right * x, decoded[0]), min(bottom * y, decoded[1]))
        return Plan(box, self.size)


def plan(size: Size, wanted: Derivative) -> Plan:
    """The plan of one output of a picture of this size.

    Raises:
        Failure: `params_invalid`: the crop lies outside the picture, or the output would be too large.
    """
    left, top, right, bottom = _inside(size, wanted.crop)
    width, height = wanted.width, wanted.height
    if wanted.rotate in (90, 270):  # turned after it is resized, which is cheaper
        width, height = height, width
    box = (float(left), float(top), float(right), float(bottom))
    if wanted.fit == "cover" and width and height:
        box = _middle(box, width / height)
    result = _size(box, width, height, wanted)
    if result[0] * result[1] > MAX_OUTPUT_PIXELS:
        raise Failure("params_invalid", f"An output would have more than {MAX_OUTPUT_PIXELS} pixels.")
    return Plan(box, result)


def draft(size: Size, plans: list[Plan]) -> Size:
    """How large the whole picture must at least be decoded for all the plans."""
    scales = [
        (plan.size[0] / (plan.box[2] - plan.box[0]), plan.size[1] / (plan.box[3] - plan.box[1]))
        for plan in plans
    ]
    return (
        max(1, round(size[0] * max(x for x, _ in scales))),
        max(1, round(size[1] * max(y for _, y in scales))),
    )


def _inside(size: Size, crop: Box | None) -> tuple[int, int, int, int]:
    if crop is None:
        return (0, 0, *size)
    if crop.x >= size[0] or crop.y >= size[1]:
        raise Failure("params_invalid", f"The crop lies outside the picture of {size[0]} x {size[1]} pixels.")
    return (crop.x, crop.y, min(size[0], crop.x + crop.width), min(size[1], crop.y + crop.height))


def _middle(box: tuple[float, float, float, float], ratio: float) -> tuple[float, float, float, float]:
    """The largest part of the box with this ratio of width to height, out of its middle."""
    left, top, right, bottom = box
    width = min(right - left, (bottom - top) * ratio)
    height = width / ratio
    x, y = (left + right - width) / 2, (top + bottom - height) / 2
    return (max(left, x), max(top, y), min(right, x + width), min(bottom, y + height))


def _size(
    box: tuple[float, float, float, float], width: int | None, height: int | None, wanted: Derivative
) -> Size:
    across, down = box[2] - box[0], box[3] - box[1]
    x = width / across if width else None
    y = height / down if height else None
    if wanted.fit == "stretch":
        x, y = x or 1.0, y or 1.0
    else:
        given = [scale for scale in (x, y) if scale is not None]
        # `cover` has both scales equal by now, but for rounding.
        x = y = min(given, default=1.0)
    if not wanted.enlarge:
        x, y = min(1.0, x), min(1.0, y)
    return _at_least_one(across * x), _at_least_one(down * y)


def _at_least_one(length: float) -> int:
    return max(1, round(length))
