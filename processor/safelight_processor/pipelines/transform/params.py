"""What can be asked of `transform`. The JSON Schema that customers see is made from these structs."""

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from safelight.errors import Failure
from safelight.pipelines import Params

# The end of the text, for Python and for JavaScript: a `$` of Python lets a line break follow, and
# JavaScript, whose expressions JSON Schema speaks, has no `\Z`.
_END = r"(?![\s\S])"
_FILE_ENDINGS: Final = {"jpeg": "jpg"}  # where it is not the format's own name

Pixels = Annotated[int, Meta(ge=1, le=16_383, description="px")]
Color = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}" + _END, description="#rrggbb")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}(\.(jpe?g|png|webp|gif|JPE?G|PNG|WEBP|GIF))?" + _END,
        description="file name of the output; `output.jpg`, `output-2.jpg` ... by default",
    ),
]


class Box(Params, frozen=True):
    """A part of the upright picture; what lies outside the picture is ignored."""

    x: Annotated[int, Meta(ge=0, le=100_000, description="px from the left")]
    y: Annotated[int, Meta(ge=0, le=100_000, description="px from the top")]
    width: Annotated[int, Meta(ge=1, le=100_000, description="px")]
    height: Annotated[int, Meta(ge=1, le=100_000, description="px")]


class Watermark(Params, frozen=True):
    """Text over the picture."""

    text: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*" + _END)]
    position: Literal[
        "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
    ] = "bottom-right"
    opacity: Annotated[float, Meta(ge=0, le=1)] = 0.5
    size: Annotated[float, Meta(gt=0, le=1, description="width of the text as a share of the picture's")] = (
        0.3
    )
    color: Color = "#ffffff"


class Derivative(Params, frozen=True):
    """One output. The steps in their order: crop, rotate, flip, resize, watermark, encode."""

    name: Name | None = None
    width: Annotated[Pixels | None, Meta(description="px; the other side follows when it is not given")] = (
        None
    )
    height: Pixels | None = None
    fit: Annotated[
        Literal["contain", "cover", "stretch"],
        Meta(description="`contain` shows all, `cover` fills and cuts the rest, `stretch` ignores the ratio"),
    ] = "contain"
    enlarge: Annotated[bool, Meta(description="may make it larger than it is")] = False
    crop: Box | None = None
    rotate: Annotated[Literal[0, 90, 180, 270], Meta(description="degrees, clockwise")] = 0
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    format: Literal["jpeg", "png", "webp", "gif"] = "jpeg"
    quality: Annotated[int, Meta(ge=1, le=100, description="of jpeg and webp")] = 80
    keep: Annotated[
        list[Literal["icc", "exif"]],
        Meta(max_length=2, description="metadata to keep; all is stripped by default, colors become sRGB"),
    ] = field(default_factory=list)
    background: Annotated[
        Color | None, Meta(description="put behind what is transparent; jpeg takes white by default")
    ] = None
    watermark: Watermark | None = None


class Transform(Derivative, frozen=True):
    """One output described right here, or several in `outputs`."""

    outputs: Annotated[list[Derivative], Meta(max_length=16, description="several outputs in one job")] = (
        field(default_factory=list)
    )

    def derivatives(self) -> dict[str, Derivative]:
        """What is to be made, each under its name.

        Raises:
            Failure: `params_invalid`: something is said both here and in `outputs`, or two have one name.
        """
        if not self.outputs:
            return {_file_name(self, 0): self}
        for name in Derivative.__struct_fields__:
            if getattr(self, name) != getattr(Derivative(), name):
                raise Failure("params_invalid", f"Where there are outputs, {name} belongs in each of them.")
        named = {_file_name(output, number): output for number, output in enumerate(self.outputs)}
        if len(named) < len(self.outputs):
            raise Failure("params_invalid", "Two outputs have the same name, given or by default.")
        return named


def _file_name(derivative: Derivative, number: int) -> str:
    ending = _FILE_ENDINGS.get(derivative.format, derivative.format)
    return derivative.name or (f"output-{number + 1}.{ending}" if number else f"output.{ending}")
