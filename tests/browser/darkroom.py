"""A pipeline for the browser tests: slow enough to be watched, its result the size of its input."""

import time
from typing import Annotated, Any, Literal

from msgspec import Meta

from safelight.pipelines import Params, Run, Stage, pipeline

_BATHS = 20


class Develop(Params, frozen=True):
    """How the print is made."""

    paper: Annotated[Literal["glossy", "matte"], Meta(description="what it is printed on")] = "matte"
    contrast: Annotated[float, Meta(ge=0, le=1, description="0 is soft, 1 is hard")] = 0.5
    copies: Annotated[int, Meta(ge=1, le=3)] = 1
    seconds: Annotated[float, Meta(ge=0, le=80, description="how long the developer takes")] = 1.0


@pipeline(
    "develop",
    version="1",
    description="Develops a print, slowly.",
    stages=[Stage("expose", 1), Stage("develop", 3), Stage("fix", 1)],
    deadline=90.0,
)
def develop(run: Run, params: Develop) -> dict[str, Any]:
    """Expose, develop, fix: a gray print."""
    with run.stage("expose"):
        picture = run.inputs[0].open().convert("L")
    with run.stage("develop"):
        for bath in range(_BATHS):
            run.progress(bath / _BATHS, f"bath {bath + 1} of {_BATHS}")
            time.sleep(params.seconds / _BATHS)
    with run.stage("fix"):
        for copy in range(params.copies):
            run.output(f"print-{copy + 1}.jpg", picture, format="JPEG", quality=80)
    return {"paper": params.paper, "contrast": params.contrast, "copies": params.copies}
