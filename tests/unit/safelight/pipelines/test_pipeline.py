"""`@pipeline`: what an author may say, and what comes of calling it."""

import json
import subprocess
import sys
from typing import Annotated, Any

import jsonschema
import pytest

from safelight.pipelines import Failure, Image, Meta, MiB, Params, Pipeline, Run, Stage, pipeline


class Shrink(Params, frozen=True):
    width: Annotated[int, Meta(ge=1, le=8000, description="px")] = 800
    name: str | None = None


@pipeline(
    "shrink",
    version="3",
    stages=[Stage("decode", 3), Stage("encode")],
    deadline=7.5,
    max_inputs=2,
    memory=64 * MiB,
)
def shrink(run: Run, params: Shrink) -> dict[str, Any]:
    """Shrinks a picture."""
    return {"width": params.width}


def failure_of(pipe: Pipeline, run: Run, raw: bytes = b"{}") -> Failure:
    with pytest.raises(Failure) as caught:
        pipe.call(run, raw)
    return caught.value


def test_a_pipeline_carries_what_its_author_said():
    assert (shrink.name, shrink.version, shrink.title, shrink.description) == (
        "shrink",
        "3",
        "Shrink",
        "Shrinks a picture.",
    )
    assert (shrink.deadline, shrink.max_inputs, shrink.memory, shrink.max_attempts) == (7.5, 2, 64 * MiB, 3)
    assert shrink.stages == (Stage("decode", 3), Stage("encode", 1))
    assert shrink.params is Shrink


def test_the_schema_is_valid_json_schema_and_spells_its_root_out():
    schema = shrink.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["properties"]["width"] == {
        "description": "px",
        "type": "integer",
        "minimum": 1,
        "maximum": 8000,
        "default": 800,
    }
    json.dumps(schema)


def test_no_params_at_all_are_the_defaults():
    assert shrink.decode(b"") == shrink.decode(b"{}") == Shrink()


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (b'{"width": 0}', "width"),
        (b'{"width": "800"}', "width"),
        (b'{"widht": 800}', "widht"),
        (b"[1]", "object"),
        (b"{", "truncated"),
        (b'{"width": 1' + b" " * 270_000 + b"}", "longer"),
        (b"\xff\xfe", ""),
        (b'{"name": ' + b"[" * 40_000 + b"}", ""),
    ],
)
def test_params_that_do_not_fit_say_what_is_wrong(raw, hint, run):
    failure = failure_of(shrink, run, raw)
    assert failure.code == "params_invalid"
    assert not failure.retryable
    assert hint in failure.message


def test_the_result_of_the_function_is_the_result_of_the_call(run):
    assert shrink.call(run, b'{"width": 12}') == {"width": 12}


def test_a_function_without_params_is_called_with_the_run_alone(run):
    @pipeline("bare")
    def bare(run: Run) -> dict[str, Any]:
        return {"job": run.job}

    assert bare.params is Params
    assert bare.call(run, b"") == {"job": "job"}
    assert failure_of(bare, run, b'{"a": 1}').code == "params_invalid"


def returning(value: Any) -> Pipeline:
    @pipeline("returning")
    def function(run: Run) -> Any:
        return value

    return function


@pytest.mark.parametrize("value", [[1], "text", 3, {"x": object()}, {"x": "y" * 70_000}])
def test_a_result_that_is_no_small_json_object_is_refused(value, run):
    assert failure_of(returning(value), run).code == "output_invalid"


@pytest.mark.parametrize("value", [None, {}, {"a": [1, 2.5, None, "b"]}])
def test_a_json_object_or_nothing_is_accepted(value, run):
    assert returning(value).call(run, b"") == value


class OpenCVError(Exception):
    code = -4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("x"), "pipeline_failed"),
        (MemoryError(), "memory_exceeded"),
        (OpenCVError(), "memory_exceeded"),
        (Failure("image_damaged"), "image_damaged"),
        (Failure("too_blue", "It is too blue."), "too_blue"),
        (RecursionError(), "pipeline_failed"),
    ],
)
def test_whatever_goes_wrong_inside_becomes_a_typed_failure(error, code, run):
    @pipeline("broken")
    def broken(run: Run) -> None:
        raise error

    failure = failure_of(broken, run)
    assert failure.code == code
    assert failure is error or failure.__cause__ is error


def test_too_many_inputs_are_refused_before_the_function_runs(run, image):
    run.inputs = tuple(image(b"x") for _ in range(3))
    assert failure_of(shrink, run).code == "too_many_files"


def test_the_inputs_get_the_pixel_cap_of_the_pipeline(run, image):
    seen: list[Image] = []

    @pipeline("look", max_pixels=1234)
    def look(run: Run) -> None:
        seen.extend(run.inputs)

    run.inputs = (image(b"x"),)
    look.call(run, b"")
    assert [picture.max_pixels for picture in seen] == [1234]


@pytest.mark.parametrize("name", ["", "Shrink", "1st", "a b", "a/b", "a" * 64, "ä"])
def test_a_name_that_does_not_fit_in_an_address_is_refused(name):
    with pytest.raises(ValueError, match="no name"):
        pipeline(name)(lambda run: None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": [Stage("a"), Stage("a")]},
        {"stages": [Stage("a", 0)]},
        {"deadline": 0},
        {"max_pixels": -1},
        {"memory": 0},
        {"max_inputs": 0},
    ],
)
def test_limits_and_stages_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="wrong"):
        pipeline("wrong", **wrong)(lambda run: None)


def test_params_without_a_params_class_are_refused():
    with pytest.raises(TypeError, match="subclass of Params"):

        @pipeline("untyped")
        def untyped(run, params):
            return None


def test_importing_the_interface_loads_no_image_library_and_no_database():
    code = (
        "import sys, safelight.pipelines;"
        "print([m for m in ('PIL', 'numpy', 'cv2', 'asyncpg', 'redis', 'litestar') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
