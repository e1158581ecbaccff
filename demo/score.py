"""How close a restored picture is to the undamaged original, and a picture that shows it.

    psnr            peak signal-to-noise ratio, dB
    ssim            structural similarity, 1 is the same
    before_after    the three pictures side by side, labelled, as a PNG

`make demo` calls it. Peak signal-to-noise counts every wrong pixel; structural similarity is nearer to
what people see.
"""

import sys
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

Floats = NDArray[np.float64]

LABEL_HEIGHT = 56
GAP = 12


def psnr(a: PIL.Image.Image, b: PIL.Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of the same size, in dB."""
    difference = np.asarray(a.convert("RGB"), np.float64) - np.asarray(b.convert("RGB"), np.float64)
    error = float(np.mean(difference**2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def ssim(a: PIL.Image.Image, b: PIL.Image.Image) -> float:
    """Mean structural similarity of the luminance.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error Visibility
    to Structural Similarity", IEEE Transactions on Image Processing 13 (2004), with its constants: a
    Gaussian window of 11 x 11 and sigma 1.5, K1 = 0.01, K2 = 0.03.
    """
    x, y = (np.asarray(picture.convert("L"), np.float64) for picture in (a, b))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def _window(values: Floats) -> Floats:
    """Weighted means in Gaussian windows that lie wholly inside, one axis after the other."""
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    for axis in (0, 1):
        if values.shape[axis] >= len(weights):
            windows = np.lib.stride_tricks.sliding_window_view(values, len(weights), axis)
            values = windows @ (weights / weights.sum())
    return values


def before_after(
    original: PIL.Image.Image, damaged: PIL.Image.Image, restored: PIL.Image.Image, path: Path
) -> None:
    """Write damaged, restored and original side by side as a PNG, with their scores underneath."""
    small = original.size
    restored = restored if restored.size == small else restored.resize(small, PIL.Image.Resampling.LANCZOS)
    panels = [
        (damaged, f"damaged   {_scores(original, damaged)}"),
        (restored, f"restored   {_scores(original, restored)}"),
        (original, "the original, for comparison"),
    ]
    width, height = small
    sheet = PIL.Image.new("RGB", (3 * width + 4 * GAP, height + LABEL_HEIGHT + GAP), "#15110f")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(12, min(26, width // 24)))
    for column, (picture, label) in enumerate(panels):
        left = GAP + column * (width + GAP)
        sheet.paste(picture.convert("RGB"), (left, GAP))
        draw.text((left, height + GAP + LABEL_HEIGHT / 2), label, fill="#f3e9dc", font=font, anchor="lm")
    sheet.save(path)


def _scores(original: PIL.Image.Image, picture: PIL.Image.Image) -> str:
    return f"PSNR {psnr(original, picture):.1f} dB   SSIM {ssim(original, picture):.3f}"


def main(original: str, damaged: str, restored: str, sheet: str) -> int:
    """Prints the gain and draws it; 0 when the picture came back nearer to the original on both scales."""
    first, before, after = (PIL.Image.open(path).convert("RGB") for path in (original, damaged, restored))
    small = after if after.size == first.size else after.resize(first.size, PIL.Image.Resampling.LANCZOS)
    noise = psnr(first, before), psnr(first, small)
    shape = ssim(first, before), ssim(first, small)
    print(f"PSNR {noise[0]:.2f} dB -> {noise[1]:.2f} dB ({noise[1] - noise[0]:+.2f} dB)")
    print(f"SSIM {shape[0]:.3f} -> {shape[1]:.3f} ({shape[1] - shape[0]:+.3f})")
    before_after(first, before, after, Path(sheet))
    return 0 if noise[1] > noise[0] and shape[1] > shape[0] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
