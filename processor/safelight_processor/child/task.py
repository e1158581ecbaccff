"""One task, from the child's side: limits on, pipeline called, its ending made, everything put back.

`__main__` calls `Worker.run` for each task. Whatever a pipeline raises becomes a `Failed` whose message a
customer may read: no path, no traceback; those go to the log in `detail`.
"""

import errno
import os
import re
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import PIL.Image

from safelight.errors import Failure
from safelight.pipelines import Image, Pipeline, Run
from safelight_processor.child import limits
from safelight_processor.child.protocol import (
    CODE,
    MAX_DETAIL,
    MAX_MESSAGE,
    MAX_NAME,
    MAX_RESULT_BYTES,
    Failed,
    Finished,
    FromChild,
    InputFile,
    OutputFile,
    Task,
    clean,
)
from safelight_processor.child.reporter import Reporter

OPENCV_OUT_OF_MEMORY: Final = -4
# Codes that stand for "something else went wrong": what is behind them may have a better name.
VAGUE: Final = frozenset({"pipeline_failed", "image_damaged", "output_invalid"})
BY_ERRNO: Final = {
    errno.ENOMEM: "memory_exceeded",
    errno.ENOSPC: "storage_unavailable",
    errno.EDQUOT: "storage_unavailable",
    errno.EFBIG: "output_invalid",
}


class Worker:
    """Runs tasks, one after another."""

    def __init__(self, pipelines: Mapping[str, Pipeline], send: Callable[[FromChild], None]) -> None:
        self._pipelines = pipelines
        self._send = send
        self._reporter = Reporter(send)
        self._home = Path.cwd()
        self._threads = threading.active_count()

    def run(self, task: Task) -> None:
        """Run one task and send its ending."""
        try:
            ending: Finished | Failed = self._finish(task)
        except BaseException as error:  # SystemExit of a pipeline is its failure too
            ending = failed(error)
        self._reporter.end()
        self._put_back()
        # A thread that still runs would share the process with the next tenant's image.
        if threading.active_count() > self._threads:
            ending = msgspec.structs.replace(ending, worn=True)
        self._send(ending)

    def _finish(self, task: Task) -> Finished:
        pipeline = self._pipelines.get(task.pipeline)
        if pipeline is None:
            raise Failure("pipeline_unknown")
        os.chdir(task.workdir)
        tempfile.tempdir = task.workdir
        run = Run(
            task.job, [_image(file) for file in task.inputs], Path(task.workdir), self._reporter.begin()
        )
        # `Image.open` of ours has its own cap; this is for who calls Pillow's, for a mask say.
        PIL.Image.MAX_IMAGE_PIXELS = task.limits.pixels
        with limits.for_task(task.limits):
            result = pipeline.call(run, task.params)
            encoded = _encoded(result)
        return Finished([_output(output) for output in run.outputs], encoded)

    def _put_back(self) -> None:
        os.chdir(self._home)
        tempfile.tempdir = None
        limits.end_what_was_started()


def _image(file: InputFile) -> Image:
    return Image(Path(file.path), file.name, file.media_type, file.width, file.height, file.bytes)


def _output(output: Any) -> OutputFile:
    return OutputFile(
        clean(output.name, MAX_NAME), str(output.path), output.media_type, output.width, output.height
    )


def _encoded(result: Any) -> bytes | None:
    if result is None:
        return None
    encoded = msgspec.json.encode(result)
    if len(encoded) > MAX_RESULT_BYTES:
        raise Failure("output_invalid", f"The result is longer than {MAX_RESULT_BYTES} bytes.")
    return encoded


def failed(error: BaseException) -> Failed:
    """The failure as the parent hears it."""
    failure = _typed(error)
    code = failure.code if re.search(CODE, failure.code) else "pipeline_failed"
    plain = isinstance(error, Failure) and error.__cause__ is None
    detail = "" if plain else "".join(traceback.format_exception(error))[-MAX_DETAIL:]
    return Failed(
        code,
        clean(failure.message, MAX_MESSAGE),
        failure.retryable,
        clean(detail, MAX_DETAIL),
        # What is left behind when an allocation fails half way, or a signal cuts in, nobody knows.
        worn=code in {"memory_exceeded", "deadline_exceeded"},
    )


def _typed(error: BaseException) -> Failure:
    if isinstance(error, limits.CpuTimeExceeded):
        return Failure("deadline_exceeded")
    if isinstance(error, Failure) and error.code not in VAGUE:
        return error
    for cause in _chain(error):
        if code := _code(cause):
            return error if isinstance(error, Failure) and error.code == code else Failure(code)
    return error if isinstance(error, Failure) else Failure("pipeline_failed")


def _code(error: BaseException) -> str | None:
    """The code for an exception of Python, Pillow or OpenCV, where there is a better one than the general."""
    if isinstance(error, MemoryError) or getattr(error, "code", None) == OPENCV_OUT_OF_MEMORY:
        return "memory_exceeded"
    if type(error).__name__ in {"DecompressionBombError", "DecompressionBombWarning"}:
        return "image_too_many_pixels"
    if isinstance(error, OSError):
        # Pillow's decoders say it with a sentence and without a number.
        words = "memory_exceeded" if "out of memory" in str(error) else None
        return BY_ERRNO.get(error.errno or 0, words)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
