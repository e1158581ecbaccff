"""The contract: every golden message is what our types say, what the schema says, and small enough."""

import json
from datetime import datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from safelight.errors import CATALOGUE
from safelight.wire import frames, resources
from safelight.wire.codes import CloseCode
from safelight_api.problems import STATUS

PROTOCOL = Path(__file__).parents[2] / "protocol"
EXAMPLES = sorted((PROTOCOL / "examples").glob("*.json"))
README = (PROTOCOL / "README.md").read_text()
TYPES = {
    "frame": frames.ServerFrame,
    "client": frames.ClientFrame,
    "job": resources.Job,
    "problem": resources.Problem,
}


def kind(path: Path) -> str:
    return path.name.split(".")[0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_golden_message_is_read_and_written_again_without_a_change(path):
    given = json.loads(path.read_text())

    value = msgspec.json.decode(path.read_bytes(), type=TYPES[kind(path)])

    assert json.loads(msgspec.json.encode(value)) == _as_written(given)


def _as_written(value):
    """Our encoder writes full seconds and milliseconds without their zeros."""
    if isinstance(value, dict):
        return {key: _as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, str) and value.endswith("Z") and value[10:11] == "T":
        return msgspec.to_builtins(msgspec.convert(value, type=datetime))
    return value


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if kind(path) == "frame"], ids=lambda path: path.stem
)
def test_a_frame_fits_the_published_schema_and_its_size(path):
    schema = json.loads((PROTOCOL / "frames.schema.json").read_text())
    message = json.loads(path.read_text())

    jsonschema.validate(message, {"$defs": schema["$defs"], **schema["$defs"]["ServerFrame"]})

    assert len(json.dumps(message)) <= frames.MAX_FRAME_BYTES


def test_every_frame_and_every_close_code_is_in_the_prose_and_every_frame_has_an_example():
    tags = {str(cls.__struct_config__.tag) for cls in frames.ServerFrame.__args__}

    assert {tag for tag in tags if f"| `{tag}` |" not in README} == set()
    assert {
        code.name
        for code in CloseCode
        if code > 1000 and f"| {int(code)} | `{code.name.lower()}` |" not in README
    } == set()
    assert {tag for tag in tags if not (PROTOCOL / "examples" / f"frame.{tag}.json").exists()} == set()


def test_codes_json_is_what_the_code_says():
    published = json.loads((PROTOCOL / "codes.json").read_text())

    assert {entry["code"] for entry in published["close"]} == {int(code) for code in CloseCode}
    assert {entry["code"] for entry in published["failures"]} == set(CATALOGUE)


def test_every_status_is_of_a_failure_that_exists():
    assert set(STATUS) <= set(CATALOGUE)
