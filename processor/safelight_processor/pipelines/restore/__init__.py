"""`restore`: an old photograph made good again.

    decode        upright, in sRGB, alpha set aside
    scratches     dust, scratches, folds: found (marks.py) and filled
    noise         grain
    yellowing     white is white again, black is black
    contrast      both ends of the range
    sharpness     what the lens and the steps before left soft
    enlargement   twice the size, when asked for
    encode

Marks go first, while they still have their hard edges; noise before color and contrast, which would make
it louder. Each step measures whether it is needed, and the result says what it saw and did.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
from PIL.Image import Resampling

from safelight.pipelines import MiB, Run, Stage, pipeline
from safelight_processor.pipelines.modes import split_alpha, with_alpha
from safelight_processor.pipelines.restore.contrast import contrast
from safelight_processor.pipelines.restore.enlargement import enlargeable, enlarged
from safelight_processor.pipelines.restore.noise import noise
from safelight_processor.pipelines.restore.params import Restore
from safelight_processor.pipelines.restore.scratches import scratches
from safelight_processor.pipelines.restore.sharpness import sharpness
from safelight_processor.pipelines.restore.step import Done, Pixels, Step, as_pixels
from safelight_processor.pipelines.restore.yellowing import yellowing
from safelight_processor.pipelines.srgb import to_srgb

__all__ = ["Restore", "restore"]

STEPS: dict[str, Step] = {
    "scratches": scratches,
    "noise": noise,
    "yellowing": yellowing,
    "contrast": contrast,
    "sharpness": sharpness,
}
# Shares of the time, measured on a worn picture of 12 megapixels.
STAGES = [
    Stage("decode", 3),
    Stage("scratches", 40),
    Stage("noise", 45),
    Stage("yellowing", 1),
    Stage("contrast", 1),
    Stage("sharpness", 5),
    Stage("enlargement", 2),
    Stage("encode", 3),
]
OFF = "switched off"
# How EXIF orientations read when they are said.
TURNED = {
    2: "mirrored",
    3: "turned by 180°",
    4: "flipped",
    5: "turned and mirrored",
    6: "turned by 90°",
    7: "turned and mirrored",
    8: "turned by 270°",
}


@pipeline(
    "restore",
    version="1",
    description="Restores an old photograph: dust, scratches, folds, grain, yellowing, fading, softness.",
    stages=STAGES,
    deadline=120.0,
    max_pixels=40_000_000,
    memory=1536 * MiB,
)
def restore(run: Run, params: Restore) -> dict[str, Any]:
    """Run every step that is not switched off; the result has one entry for each."""
    with run.stage("decode"):
        pixels, alpha, first = _decoded(run, params)
    report = [first]
    for name, step in STEPS.items():
        with run.stage(name):
            done, entry = _taken(name, step, getattr(params, name), pixels, run.progress)
            pixels = done
            report.append(entry)
    with run.stage("enlargement"):
        pixels, alpha, entry = _enlarged(pixels, alpha, params.scale)
        report.append(entry)
    with run.stage("encode"):
        ending = {"jpeg": "jpg"}.get(params.format, params.format)
        picture = with_alpha(PIL.Image.fromarray(pixels), alpha)
        options: dict[str, Any] = {} if params.format == "png" else {"quality": params.quality}
        output = run.output(f"restored.{ending}", picture, format=params.format, **options)
    return {"width": output.width, "height": output.height, "steps": report}


def _decoded(run: Run, params: Restore) -> tuple[Pixels, PIL.Image.Image | None, dict[str, Any]]:
    image = run.inputs[0]
    orientation = image.orientation()
    picture = image.open(upright=params.orientation)
    plain, alpha = split_alpha(picture)
    plain.info["icc_profile"] = picture.info.get("icc_profile")
    did = TURNED.get(orientation, "skipped: upright") if params.orientation else OFF
    entry = {"step": "orientation", "measured": {"exif": orientation}, "did": did}
    return as_pixels(np.asarray(to_srgb(plain))), alpha, entry


def _taken(
    name: str, step: Step, strength: float, pixels: Pixels, tell: Callable[[float, str], None]
) -> tuple[Pixels, dict[str, Any]]:
    started = time.perf_counter()
    done = step(pixels, strength, tell) if strength else Done(pixels, {}, OFF)
    seconds = round(time.perf_counter() - started, 2)
    return done.pixels, {"step": name, "measured": done.measured, "did": done.did, "seconds": seconds}


def _enlarged(
    pixels: Pixels, alpha: PIL.Image.Image | None, scale: int
) -> tuple[Pixels, PIL.Image.Image | None, dict[str, Any]]:
    did = "skipped: not asked for" if scale == 1 else "skipped: too large"
    if scale == 2 and enlargeable(pixels):
        pixels, did = enlarged(pixels), "twice the size"
        if alpha:
            alpha = alpha.resize((2 * alpha.width, 2 * alpha.height), Resampling.LANCZOS)
    return pixels, alpha, {"step": "enlargement", "measured": {}, "did": did}
