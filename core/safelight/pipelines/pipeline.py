"""`@pipeline`: a function over images, with its name, its params, its stages and its limits.

The author writes it, `load()` finds it, the child calls it with a `Run`. What it returns, a JSON object,
becomes the result of the job.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from safelight.config import MiB
from safelight.errors import Failure
from safelight.pipelines.run import Run, Stage

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
MAX_PARAMS_BYTES = 256 * 1024  # 64 Ki characters of the API, in UTF-8 and with the spaces of Postgres
MAX_RESULT_BYTES = 64 * 1024
OPENCV_OUT_OF_MEMORY = -4  # cv2.Error.StsNoMem, said here so that OpenCV need not be imported


class Params(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The base of a pipeline's params: its fields, their bounds and descriptions become the JSON Schema."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Pipeline:
    """One pipeline: what `@pipeline` makes of a function.

    `deadline` is in seconds, `memory` in bytes, `max_pixels` in pixels of one input.
    """

    name: str
    version: str
    title: str
    description: str
    stages: tuple[Stage, ...]
    params: type[Params]
    deadline: float
    max_inputs: int
    max_pixels: int
    memory: int
    max_attempts: int
    function: Callable[..., Any]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a pipeline: a-z, 0-9, - and _, at most 63 of them")
        if len({stage.name for stage in self.stages}) != len(self.stages):
            raise ValueError(f"two stages of {self.name} have the same name")
        if min(stage.weight for stage in (*self.stages, Stage("", 1))) <= 0:
            raise ValueError(f"a stage of {self.name} weighs nothing")
        if min(self.deadline, self.max_inputs, self.max_pixels, self.memory, self.max_attempts) <= 0:
            raise ValueError(f"a limit of {self.name} is not above zero")

    def __repr__(self) -> str:
        return f"<Pipeline {self.name} version {self.version}>"

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the params, its root spelled out and not behind a `$ref`."""
        schema = msgspec.json.schema(self.params)
        definitions = schema.pop("$defs", {})
        root = definitions.pop(str(schema.pop("$ref", "")).rpartition("/")[2], schema)
        shared = {"$defs": definitions} if definitions else {}
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, **shared}

    def decode(self, raw: bytes) -> Params:
        """Params from JSON; nothing at all means the defaults.

        Raises:
            Failure: `params_invalid`, saying which field and why.
        """
        if len(raw) > MAX_PARAMS_BYTES:
            raise Failure("params_invalid", f"The parameters are longer than {MAX_PARAMS_BYTES} bytes.")
        try:
            return msgspec.json.decode(raw or b"{}", type=self.params)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Failure("params_invalid", f"The parameters do not fit the pipeline: {error}.") from None

    def call(self, run: Run, raw_params: bytes) -> Any:
        """Run the function; its result is None or a JSON object of at most 64 KiB.

        Raises:
            Failure: the author's own, or `params_invalid`, `too_many_files`, `memory_exceeded`,
                `pipeline_failed` (any other exception, kept as its cause) or `output_invalid`.
        """
        params = self.decode(raw_params)
        if len(run.inputs) > self.max_inputs:
            raise Failure("too_many_files")
        run.begin(self.stages, self.max_pixels)
        try:
            result = self._invoke(run, params)
        except Failure:
            raise
        except MemoryError as error:
            raise Failure("memory_exceeded") from error
        except Exception as error:
            # OpenCV says "out of memory" with its own exception and a number.
            memory = getattr(error, "code", None) == OPENCV_OUT_OF_MEMORY
            raise Failure("memory_exceeded" if memory else "pipeline_failed") from error
        _check_result(result)
        return result

    def _invoke(self, run: Run, params: Params) -> Any:
        takes_params = len(inspect.signature(self.function).parameters) > 1
        return self.function(run, params) if takes_params else self.function(run)


def pipeline(  # noqa: PLR0913 - one keyword for each thing that an author may say
    name: str,
    *,
    version: str = "1",
    title: str | None = None,
    description: str | None = None,
    stages: Sequence[Stage] = (),
    deadline: float = 60.0,
    max_inputs: int = 1,
    max_pixels: int = 40_000_000,
    memory: int = 512 * MiB,
    max_attempts: int = 3,
) -> Callable[[Callable[..., Any]], Pipeline]:
    """Make a pipeline of `function(run, params)`; the annotation of `params` names its `Params`.

    Args:
        name: what jobs ask for; a-z, 0-9, `-` and `_`.
        version: changes when the same input and params would give another output.
        title: for people; the name by default.
        description: for people; the function's docstring by default.
        stages: the parts of the work in order, with their share of the time.
        deadline: seconds of one attempt.
        max_inputs: images of one job.
        max_pixels: pixels of one input.
        memory: bytes that the child may use.
        max_attempts: runs before the job is failed.
    """

    def decorate(function: Callable[..., Any]) -> Pipeline:
        return Pipeline(
            name=name,
            version=version,
            title=title or name.replace("_", " ").replace("-", " ").capitalize(),
            description=description or inspect.getdoc(function) or "",
            stages=tuple(stages),
            params=_params_of(function),
            deadline=deadline,
            max_inputs=max_inputs,
            max_pixels=max_pixels,
            memory=memory,
            max_attempts=max_attempts,
            function=function,
        )

    return decorate


def _params_of(function: Callable[..., Any]) -> type[Params]:
    names = list(inspect.signature(function).parameters)
    if len(names) < 2:
        return Params
    kind = get_type_hints(function).get(names[1])
    if not (isinstance(kind, type) and issubclass(kind, Params)):
        raise TypeError(f"annotate {names[1]!r} of {function.__qualname__} with a subclass of Params")
    return kind


def _check_result(result: Any) -> None:
    if result is None:
        return
    if not isinstance(result, dict):
        raise Failure("output_invalid", "The pipeline returned something that is no JSON object.")
    try:
        size = len(msgspec.json.encode(result))
    except (TypeError, ValueError, RecursionError) as error:
        raise Failure("output_invalid", "The result of the pipeline cannot be written as JSON.") from error
    if size > MAX_RESULT_BYTES:
        raise Failure(
            "output_invalid", f"The result of the pipeline is longer than {MAX_RESULT_BYTES} bytes."
        )
