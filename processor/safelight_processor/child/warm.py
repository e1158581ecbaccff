"""Everything that is imported once, so that no task waits for it: Pillow, OpenCV, the pipelines.

`__main__` calls `up` after it has tied the process down, and then says the `Ready` that it answers.
"""

import gc
import importlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import PIL.Image

from safelight.pipelines import Pipeline, load
from safelight_processor.child.protocol import Declaration, FromChild, Ready, StageDeclaration, clean
from safelight_processor.child.task import Worker

# The formats that `safelight.pipelines` decodes. Pillow's other plugins are never imported.
PLUGINS: Final = ("Jpeg", "Png", "WebP", "Gif", "Tiff", "Bmp")


def up(send: Callable[[FromChild], None]) -> tuple[Ready, Worker]:
    """Import everything; what there is, and who runs it.

    Raises:
        Failure: `setting_invalid`: a pipeline cannot be imported.
    """
    for plugin in PLUGINS:
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
    with suppress(ImportError):  # a pipeline that needs OpenCV will say so itself
        importlib.import_module("cv2").setNumThreads(1)  # a slot is one core
    pipelines = load()
    gc.collect()
    gc.freeze()  # what is here now stays; no later collection need look at it
    return Ready([_declaration(pipeline) for pipeline in pipelines.values()], _pillow()), Worker(
        pipelines, send
    )


def _declaration(pipeline: Pipeline) -> Declaration:
    return Declaration(
        name=pipeline.name,
        version=pipeline.version,
        title=clean(pipeline.title, 200),
        description=clean(pipeline.description, 4000),
        stages=[StageDeclaration(stage.name, stage.weight) for stage in pipeline.stages],
        schema=msgspec.json.encode(pipeline.schema()),
        deadline=pipeline.deadline,
        max_inputs=pipeline.max_inputs,
        max_pixels=pipeline.max_pixels,
        memory=pipeline.memory,
        max_attempts=pipeline.max_attempts,
    )


def _pillow() -> str:
    """Which Pillow this is; pillow-simd owns the same package, and tells itself apart by `.post`."""
    version = PIL.__version__
    return f"pillow-simd {version}" if ".post" in version else f"pillow {version}"
