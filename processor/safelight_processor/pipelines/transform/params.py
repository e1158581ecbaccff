"""What can be asked of `transform`. The JSON Schema that customers see is made from these structs."""

from typing import Annotated, Literal

from msgspec import Meta, field

from safelight.errors import Failure
from safelight.pipelines import Params

Pixels = Annotated[int, Meta(ge=1, le=16_383, description="px")]
Color = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$", description="#rrggbb")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}(\.[A-Za-z0-9]{1,8})?$",
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

    text: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]
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

    def derivatives(self) -> list[Derivative]:
        """What is to be made.

        Raises:
            Failure: `params_invalid`: something is said both here and in `outputs`, or a name twice.
        """
        if not self.outputs:
            return [self]
        for name in Derivative.__struct_fields__:
            if getattr(self, name) != getattr(Derivative(), name):
                raise Failure("params_invalid", f"Where there are outputs, {name} belongs in each of them.")
        names = [output.name for output in self.outputs if output.name]
        if len(set(names)) != len(names):
            raise Failure("params_invalid", "Two outputs have the same name.")
        return list(self.outputs)
