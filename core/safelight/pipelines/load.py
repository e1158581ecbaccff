"""Which pipelines there are: the entry points of installed packages, and those named in the environment.

A package offers one with `[project.entry-points."safelight.pipelines"]  shrink = "ours.shrink:shrink"`;
for development, `SAFELIGHT_PIPELINE_MODULES=ours.shrink:shrink` does without installing. The processor's
children call this once, when they start.
"""

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points

from safelight.errors import Failure
from safelight.pipelines.pipeline import Pipeline

GROUP = "safelight.pipelines"
VARIABLE = "SAFELIGHT_PIPELINE_MODULES"


def load(environ: Mapping[str, str] | None = None) -> dict[str, Pipeline]:
    """Every pipeline by its name; one from the environment replaces an installed one of the same name.

    Raises:
        Failure: `setting_invalid`: one cannot be imported, is no pipeline, or two packages offer one name.
    """
    found: dict[str, Pipeline] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        pipeline = _import(entry.value)
        if found.setdefault(pipeline.name, pipeline) is not pipeline:
            raise Failure("setting_invalid", f"Two installed packages offer the pipeline {pipeline.name}.")
    for address in _addresses((os.environ if environ is None else environ).get(VARIABLE, "")):
        pipeline = _import(address)
        found[pipeline.name] = pipeline
    return found


def _addresses(text: str) -> Iterable[str]:
    return (address.strip() for address in text.split(",") if address.strip())


def _import(address: str) -> Pipeline:
    module, _, attribute = address.partition(":")
    try:
        pipeline = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise Failure("setting_invalid", f"The pipeline {address} cannot be imported: {error}") from error
    if not isinstance(pipeline, Pipeline):
        raise Failure("setting_invalid", f"{address} is no pipeline; put @pipeline above the function.")
    return pipeline
