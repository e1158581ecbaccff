"""What the author of a pipeline imports: `from safelight.pipelines import pipeline, Params, Stage, Run`.

A pipeline is one Python function over images. It is called in a sandboxed child of the processor; this
package knows no database, no Redis and no network, and loads Pillow only when a picture is opened.

    pipeline.py   @pipeline, Params, Pipeline
    run.py        Run, Stage, Report: the inputs, the stages and their progress, the outputs
    image.py      Image: one input, opened with every guard on
    output.py     Output: one result file, its name checked, encoded without metadata
    load.py       load(): every pipeline that is installed here
"""

from msgspec import Meta

from safelight.config import MiB
from safelight.errors import Failure
from safelight.pipelines.image import FORMATS, Image
from safelight.pipelines.load import load
from safelight.pipelines.output import Output
from safelight.pipelines.pipeline import Params, Pipeline, pipeline
from safelight.pipelines.run import Report, Run, Stage

__all__ = [
    "FORMATS",
    "Failure",
    "Image",
    "Meta",
    "MiB",
    "Output",
    "Params",
    "Pipeline",
    "Report",
    "Run",
    "Stage",
    "load",
    "pipeline",
]
