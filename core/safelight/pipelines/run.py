"""A run: what a pipeline sees of its job, and how it says how far it is.

The child makes one per job and passes it to `Pipeline.call`. Reports go to the parent, which publishes
them; the outputs go back to it when the function returns.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from safelight.errors import Failure
from safelight.pipelines.image import Image
from safelight.pipelines.output import Output, check_name, describe, encode

if TYPE_CHECKING:
    import PIL.Image

MAX_OUTPUTS = 32
MAX_STATUS = 200


class Stage(msgspec.Struct, frozen=True):
    """A named part of a pipeline; `weight` is its share of the time, relative to the other stages."""

    name: str
    weight: float = 1.0


class Report(msgspec.Struct, frozen=True):
    """How far a run is: `progress` of the whole from 0 to 100, the stage, and a sentence for people."""

    progress: float
    stage: str
    status: str


class Run:
    """One run of a pipeline.

    `inputs` are the images of the job, `workdir` a private folder that goes away with the run.
    """

    def __init__(
        self, job: str, inputs: Sequence[Image], workdir: Path, report: Callable[[Report], None]
    ) -> None:
        self.job = job
        self.inputs = tuple(inputs)
        self.workdir = workdir
        self.outputs: list[Output] = []
        self._report = report
        self._last = Report(0.0, "", "")
        self._stages: dict[str, tuple[float, float]] = {}
        self._stage = ""

    def begin(self, stages: Sequence[Stage], max_pixels: int) -> None:
        """Take over a pipeline's plan and pixel cap. `Pipeline.call` does this; an author does not."""
        total = sum(stage.weight for stage in stages) or 1.0
        done = 0.0
        for stage in stages:
            self._stages[stage.name] = (100 * done / total, 100 * (done + stage.weight) / total)
            done += stage.weight
        self.inputs = tuple(image.limited(max_pixels) for image in self.inputs)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Do one stage: entering it is reported, and so is leaving it, but not its failure.

        Raises:
            ValueError: the pipeline has no such stage, or another one is still open.
        """
        if name not in self._stages:
            raise ValueError(f"the pipeline has no stage {name!r}; it has {', '.join(self._stages)}")
        if self._stage:
            raise ValueError(f"stage {self._stage!r} is still open")
        self._stage = name
        try:
            self.progress(0.0)
            yield
            self.progress(1.0, self._last.status)
        finally:
            self._stage = ""

    def progress(self, fraction: float, status: str = "") -> None:
        """Say how much of the current stage is done, from 0 to 1, and perhaps a sentence (200 characters).

        Between stages, and in a pipeline without stages, the fraction is that of the whole run. The
        number that is reported never falls.
        """
        start, end = self._stages.get(self._stage, (0.0, 100.0))
        progress = start + (end - start) * min(1.0, max(0.0, fraction))
        report = Report(round(max(self._last.progress, progress), 2), self._stage, status[:MAX_STATUS])
        if report != self._last:
            self._last = report
            self._report(report)

    def output(
        self,
        name: str,
        content: "PIL.Image.Image | bytes | Path",
        *,
        format: str | None = None,  # noqa: A002 - Pillow's own word for it
        media_type: str | None = None,
        keep: Sequence[str] = (),
        **options: Any,
    ) -> Output:
        """Add an output: a Pillow image (encoded here), bytes, or a file that is already in `workdir`.

        Args:
            name: file name as the customer sees it: letters, digits, `.`, `_`, `-`.
            content: the picture, the bytes or the path.
            format: JPEG, PNG, WEBP, GIF, TIFF or BMP; by default what the name ends with.
            media_type: of bytes or a file; by default what the name ends with.
            keep: metadata of the picture to write along: `icc`, `exif`. Nothing is written unasked.
            options: for Pillow's encoder, for example `quality=85`.

        Raises:
            Failure: `output_invalid`: the name is not one, is taken, or the content is no such thing.
        """
        check_name(name)
        if any(output.name == name for output in self.outputs):
            raise Failure("output_invalid", f"There are two outputs named {name}.")
        if len(self.outputs) >= MAX_OUTPUTS:
            raise Failure("output_invalid", f"The pipeline made more than {MAX_OUTPUTS} outputs.")
        output = self._make(name, content, format, media_type, keep, options)
        self.outputs.append(output)
        return output

    def _make(
        self,
        name: str,
        content: "PIL.Image.Image | bytes | Path",
        format_: str | None,
        media_type: str | None,
        keep: Sequence[str],
        options: dict[str, Any],
    ) -> Output:
        # A prefix keeps outputs apart from whatever else lies in the folder, the inputs for one.
        path = self.workdir / f"out.{name}"
        if isinstance(content, bytes):
            path.write_bytes(content)
            return describe(name, path, media_type)
        if isinstance(content, Path):
            inside = content.resolve()
            if not inside.is_relative_to(self.workdir.resolve()) or not inside.is_file():
                raise Failure("output_invalid", f"The output {name} is no file in the folder of the run.")
            return describe(name, inside, media_type)
        return encode(name, path, content, format_, keep, options)
