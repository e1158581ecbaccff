"""Params that the API accepts for a pipeline are params that the pipeline accepts in its child."""

import json
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Failure
from safelight.pipelines import Params, Run, pipeline
from safelight.wire.resources import PipelineInfo
from safelight_api.offers import check_params


class Numbers(Params, frozen=True):
    whole: int = 0
    any: float = 0.0
    turn: Literal[0, 90] = 0
    several: list[int] = msgspec.field(default_factory=list)
    named: dict[str, float] = msgspec.field(default_factory=dict)
    words: list[str] = msgspec.field(default_factory=list)


@pipeline("numbers")
def numbers(run: Run, params: Numbers) -> None:
    """Nothing is done with them."""


INFO = PipelineInfo(
    name="numbers",
    version="1",
    title="",
    description="",
    stages=[],
    params=numbers.schema(),
    deadline=1.0,
    max_inputs=1,
    max_pixels=1,
    max_attempts=1,
)


def as_stored(text: str) -> bytes:
    """What Postgres makes of it: a number with an exponent gets all its digits."""

    def digits(number: str) -> float:
        return int(float(number)) if "e" in number and float(number).is_integer() else float(number)

    return msgspec.json.encode(json.loads(text, parse_float=digits))


def accepted(text: str) -> Params:
    return numbers.decode(check_params(INFO, text).encode())


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ('{"whole": 800.0}', Numbers(whole=800)),
        ('{"whole": 8e2}', Numbers(whole=800)),
        ('{"turn": 90.0}', Numbers(turn=90)),
        ('{"several": [1.0, -2.0]}', Numbers(several=[1, -2])),
        ('{"named": {"a": 5, "b": 5.5}}', Numbers(named={"a": 5.0, "b": 5.5})),
        ('{"any": 1' + "0" * 300 + "}", Numbers(any=1e300)),
    ],
)
def test_an_integer_is_one_however_it_is_written(text, params):
    assert accepted(text) == params


def test_the_same_params_are_one_text_however_their_numbers_are_written():
    assert check_params(INFO, '{"whole": 8e2, "any": 1.0}') == check_params(INFO, '{"any":1,"whole":800.0}')


@pytest.mark.parametrize("field", ["whole", "any"])
def test_a_number_that_no_pipeline_can_read_is_refused_at_once(field):
    with pytest.raises(Failure, match="params_invalid"):
        check_params(INFO, f'{{"{field}": 1{"0" * 400}}}')


@pytest.mark.parametrize(
    "text", [r'{"words": ["a", "\u0000"]}', r'{"words": ["a\u0000b"]}', r'{"named": {"\u0000": 1}}']
)
def test_a_nul_is_refused_wherever_it_stands(text):
    with pytest.raises(Failure, match="NUL"):
        check_params(INFO, text)


@given(st.text(st.sampled_from('\\u0a"')), st.text(st.sampled_from("\\u0")))
def test_what_only_looks_like_a_nul_is_text(word, name):
    assert accepted(json.dumps({"words": [word, r"\u0000"], "named": {name: 1.0}})) == Numbers(
        words=[word, r"\u0000"], named={name: 1.0}
    )


values = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 90.0, True])


@given(st.sampled_from(["whole", "any", "turn"]), values)
def test_a_pipeline_takes_every_number_that_its_schema_takes(field: str, value: float) -> None:
    try:
        text = check_params(INFO, json.dumps({field: value}))
    except Failure:
        return
    assert float(getattr(numbers.decode(as_stored(text)), field)) == float(value)
