"""What can be asked of `restore`: one strength for each step, 0 switches it off."""

from typing import Annotated, Literal

from msgspec import Meta

from safelight.pipelines import Params

Strength = Annotated[float, Meta(ge=0, le=1, description="0 switches the step off, 1 is all of it")]


class Restore(Params, frozen=True):
    """Every step looks first whether it is needed; these say how much of it may be done."""

    orientation: Annotated[bool, Meta(description="turn the picture as its EXIF data says")] = True
    scratches: Annotated[Strength, Meta(description="fill dust, scratches and folds")] = 1.0
    noise: Annotated[Strength, Meta(description="remove grain")] = 1.0
    yellowing: Annotated[Strength, Meta(description="make white white again")] = 1.0
    contrast: Annotated[Strength, Meta(description="give a faded picture its blacks and whites back")] = 1.0
    sharpness: Annotated[Strength, Meta(description="sharpen what is soft")] = 1.0
    scale: Annotated[Literal[1, 2], Meta(description="2 makes it twice as wide and high")] = 1
    format: Literal["jpeg", "png", "webp"] = "jpeg"
    quality: Annotated[int, Meta(ge=1, le=100, description="of jpeg and webp")] = 92
