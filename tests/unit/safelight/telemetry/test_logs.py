"""Log lines, as the process that writes them really does: on its standard output."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.telemetry.logs import redact

START = (
    "import structlog, logging; from safelight.telemetry.logs import configure; log = structlog.get_logger();"
)


def lines(code: str, style: str = "json", level: str = "info") -> list[str]:
    """What a process that runs `code` writes."""
    program = f"{START} configure({level!r}, {style!r}, 'api')\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def events(code: str, level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(code, level=level)]


def cleaned(**fields: Any) -> dict[str, Any]:
    return dict(redact(None, "", dict(fields)))


def test_an_event_is_one_line_of_json_with_its_fields_role_level_and_time() -> None:
    (event,) = events("log.info('job.claimed', job='j1', attempt=2)")
    assert event.pop("ts").endswith("Z")
    assert event == {"event": "job.claimed", "job": "j1", "attempt": 2, "role": "api", "level": "info"}


def test_what_is_bound_to_the_context_is_in_every_line() -> None:
    first, second = events(
        "structlog.contextvars.bind_contextvars(job='j1')\nlog.info('a')\nlogging.getLogger('lib').warning('b')"
    )
    assert first["job"] == second["job"] == "j1"


def test_lines_of_libraries_come_out_the_same_way() -> None:
    (event,) = events("logging.getLogger('some.library').warning('lost %s', 'it')")
    assert (event["event"], event["logger"], event["level"], event["role"]) == (
        "lost it",
        "some.library",
        "warning",
        "api",
    )


def test_less_severe_lines_than_the_level_are_not_written() -> None:
    code = (
        "log.info('a')\nlog.warning('b')\nlogging.getLogger('x').info('c')\nlogging.getLogger('x').error('d')"
    )
    assert [event["event"] for event in events(code, "warning")] == ["b", "d"]


def test_libraries_are_silent_about_details_also_at_the_lowest_level() -> None:
    code = "log.debug('a')\nlogging.getLogger('x').debug('b')\nlogging.getLogger('x').info('c')"
    assert [event["event"] for event in events(code, "debug")] == ["a", "c"]


def test_an_exception_is_in_its_line_without_local_variables() -> None:
    code = """
def fail():
    deep = "local-" + "value"
    1 / 0
try:
    fail()
except ZeroDivisionError:
    log.exception("it.failed")
"""
    for out in ("\n".join(lines(code, "json")), "\n".join(lines(code, "console"))):
        assert "it.failed" in out
        assert "ZeroDivisionError: division by zero" in out
        assert "local-value" not in out


def test_a_line_for_people_names_event_and_fields() -> None:
    (line,) = lines("log.info('job.claimed', job='j1')", "console")
    assert "job.claimed" in line
    assert "job=j1" in line


def test_a_line_break_in_a_value_makes_no_second_line() -> None:
    assert len(lines("log.info('a', name='x\\n{\"event\":\"forged\"}')")) == 1


SECRETS = [
    ("postgresql://safelight:hunter2@db/safelight", "hunter2"),
    ("cannot reach redis://:hunter2@redis:6379/0 today", "hunter2"),
    ("sl_0a1b2c3d4e5f_hunter2hunter2-x", "hunter2"),
    ("Authorization: Bearer hunter2.abc_def", "hunter2"),
    ("Basic aHVudGVyMg==", "aHVudGVyMg"),
    ("safelight.v1, token.hunter2hunter2hunter2", "hunter2"),
    ("GET /api/jobs/1/outputs/a.jpg?signature=hunter2&x=1", "hunter2"),
    ("GET /live?after=1:2&token=hunter2", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_within_a_text_is_taken_out_wherever_it_stands(text: str, secret: str) -> None:
    for found in (
        cleaned(event=text),
        cleaned(error=ValueError(text)),
        cleaned(headers={"x": [text]}),
        cleaned(raw=text.encode()),
    ):
        assert secret not in repr(found)
        assert "***" in repr(found)


@pytest.mark.parametrize(
    "field",
    ["authorization", "Authorization", "token", "job_token", "password", "secret", "api_key", "Cookie"],
)
def test_a_field_that_holds_a_secret_is_hidden(field: str) -> None:
    assert cleaned(**{field: "hunter2"})[field] == "***"
    assert cleaned(headers={field: ["hunter2"]})["headers"][field] == "***"


def test_what_is_no_secret_is_left_alone() -> None:
    fields = {"event": "job.claimed", "job": "0193-5", "attempt": 2, "ratio": 0.5, "none": None, "yes": True}
    assert cleaned(**fields) == fields
    assert cleaned(url="http://host:8080/api/jobs?limit=5")["url"] == "http://host:8080/api/jobs?limit=5"


def test_a_line_never_grows_without_bound() -> None:
    assert len(cleaned(value="x" * 10**6)["value"]) < 9_000
    nested: Any = "deep"
    for _ in range(100):
        nested = {"in": nested}
    assert len(repr(cleaned(value=nested))) < 200


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(max_size=20), st.recursive(st.none() | st.text() | st.binary() | st.integers(), st.lists)
    )
)
def test_whatever_is_logged_can_be_written_as_json(fields: dict[str, Any]) -> None:
    json.dumps(dict(redact(None, "", dict(fields))))


def test_configuring_twice_writes_each_line_once() -> None:
    assert len(lines("configure('info', 'json', 'api')\nlogging.getLogger('x').warning('once')")) == 1
    assert logging.INFO == 20
