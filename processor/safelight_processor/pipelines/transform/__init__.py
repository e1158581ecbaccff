"""`transform`: sizes, crops, turns, formats and watermarks; one picture in, up to sixteen out.

    params.py      what can be asked for
    geometry.py    pure: which part of the picture, and how large in the end
    watermark.py   text over a picture

The picture is decoded once, and a JPEG only as finely as its largest output needs; then every output is
made from it in turn. A picture is upright before anything else is done to it.
"""

from typing import Any

import PIL.Image
from PIL.Image import Resampling, Transpose

from safelight.pipelines import MiB, Run, Stage, pipeline
from safelight_processor.pipelines.modes import split_alpha, with_alpha
from safelight_processor.pipelines.srgb import to_srgb
from safelight_processor.pipelines.transform.geometry import Plan, draft, plan
from safelight_processor.pipelines.transform.params import Derivative, Transform
from safelight_processor.pipelines.transform.watermark import watermark

__all__ = ["Derivative", "Transform", "transform"]

TURNS = {90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_90}
FLIPS = {
    "horizontal": Transpose.FLIP_LEFT_RIGHT,
    "vertical": Transpose.FLIP_TOP_BOTTOM,
    "both": Transpose.ROTATE_180,
}


@pipeline(
    "transform",
    version="1",
    description="Resizes, crops, turns, converts and watermarks a picture; up to sixteen outputs at once.",
    stages=[Stage("decode", 3), Stage("derive", 2)],
    deadline=60.0,
    max_pixels=120_000_000,
    memory=1536 * MiB,
)
def transform(run: Run, params: Transform) -> dict[str, Any]:
    """Make every derivative that was asked for, in that order."""
    derivatives = params.derivatives()
    with run.stage("decode"):
        size = run.inputs[0].size(upright=True)
        plans = [plan(size, derivative) for derivative in derivatives.values()]
        picture = run.inputs[0].open(draft=draft(size, plans), upright=True)
        # A palette cannot be resampled: gray or color first, and alpha along with it.
        plain = with_alpha(*split_alpha(picture))
    made = []
    with run.stage("derive"):
        for number, (name, derivative) in enumerate(derivatives.items()):
            run.progress(number / len(plans), f"output {number + 1} of {len(plans)}")
            how = plans[number].scaled(size, plain.size)
            output = _derive(plain, derivative, how, picture.info)
            made.append(_write(run, name, output, derivative, picture.info))
    return {
        "input": {
            "width": size[0],
            "height": size[1],
            "format": _format(picture),
            "frames": getattr(picture, "n_frames", 1),
        },
        "frame": 1,  # of an animation, the first frame is used
        "outputs": made,
    }


def _derive(plain: PIL.Image.Image, wanted: Derivative, how: Plan, info: dict[Any, Any]) -> PIL.Image.Image:
    if plain.size != how.size or how.box != (0, 0, *plain.size):
        plain = plain.resize(how.size, Resampling.LANCZOS, box=how.box, reducing_gap=3.0)
    if wanted.rotate:
        plain = plain.transpose(TURNS[wanted.rotate])
    if wanted.flip != "none":
        plain = plain.transpose(FLIPS[wanted.flip])
    if "icc" not in wanted.keep:
        plain = _in_srgb(plain, info.get("icc_profile"))
    plain = _on_background(plain, wanted)
    return watermark(plain, wanted.watermark) if wanted.watermark else plain


def _in_srgb(picture: PIL.Image.Image, profile: bytes | None) -> PIL.Image.Image:
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
    plain = picture.convert("RGB") if alpha else picture
    plain.info["icc_profile"] = profile
    return with_alpha(to_srgb(plain), alpha)


def _on_background(picture: PIL.Image.Image, wanted: Derivative) -> PIL.Image.Image:
    opaque = wanted.background or ("#ffffff" if wanted.format == "jpeg" else None)
    if picture.mode != "RGBA" or opaque is None:
        return picture
    ground = PIL.Image.new("RGBA", picture.size, opaque)
    ground.alpha_composite(picture)
    return ground.convert("RGB")


def _write(
    run: Run, name: str, picture: PIL.Image.Image, wanted: Derivative, info: dict[Any, Any]
) -> dict[str, Any]:
    picture.info.update({key: info[key] for key in ("icc_profile", "exif") if info.get(key)})
    options: dict[str, Any] = {"quality": wanted.quality} if wanted.format in ("jpeg", "webp") else {}
    output = run.output(name, picture, format=wanted.format, keep=wanted.keep, **options)
    return {
        "name": name,
        "width": output.width,
        "height": output.height,
        "format": wanted.format,
        "bytes": output.path.stat().st_size,
    }


def _format(picture: PIL.Image.Image) -> str:
    # A phone's MPO is a JPEG with a second picture (depth, motion) behind it.
    return {"MPO": "jpeg"}.get(picture.format or "", (picture.format or "").lower())
