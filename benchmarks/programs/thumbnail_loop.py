"""Thumbnails in a bare loop: `thumbnail_loop.py pillow|pyvips|opencv FILE COUNT WIDTH HEIGHT`.

Called by areas/thumbnails.py, one process for each core. 12 megapixels of JPEG in, a JPEG of quality 80 out,
each by the quickest way its library has, on one thread, from a file into a file:

    pillow   explicit draft with 1.5 times the size as head-room, Lanczos
    pyvips   thumbnail(), which shrinks while it loads
    opencv   reduced decoding, then INTER_AREA
"""

# ruff: noqa: PLC0415  each kind imports only what it needs, so that none pays for the others

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["VIPS_CONCURRENCY"] = "1"
QUALITY = 80


def pillow(source: str, target: str, width: int, height: int) -> None:
    """Whichever Pillow is installed."""
    import PIL.Image

    with PIL.Image.open(source) as picture:
        picture.draft(None, (round(width * 1.5), round(height * 1.5)))
        small = picture.resize((width, height), PIL.Image.Resampling.LANCZOS, reducing_gap=3.0)
        small.save(target, "JPEG", quality=QUALITY)


def pyvips(source: str, target: str, width: int, height: int) -> None:
    """libvips, with the sizes that it would pick itself."""
    import pyvips

    pyvips.Image.thumbnail(source, width, height=height).jpegsave(target, Q=QUALITY)


def opencv(source: str, target: str, width: int, height: int) -> None:
    """The smallest of its reduced decodings that is large enough."""
    import cv2

    cv2.setNumThreads(1)
    picture = cv2.imread(source, cv2.IMREAD_REDUCED_COLOR_2)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(target, small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def main() -> None:
    """The loop; the first picture is not counted."""
    make = {"pillow": pillow, "pyvips": pyvips, "opencv": opencv}[sys.argv[1]]
    source, count, width, height = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        target = f"{folder}/small.jpg"
        make(source, target, width, height)
        began, used = time.perf_counter(), time.process_time()
        for _ in range(count):
            make(source, target, width, height)
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        print("result", json.dumps({"seconds": seconds, "cpu": cpu, "bytes": Path(target).stat().st_size}))


if __name__ == "__main__":
    main()
