"""What the queue is told about a run that has ended."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import CATALOGUE, Failure
from safelight_processor.child.ending import Crashed, Ending, TimedOut
from safelight_processor.child.protocol import Failed, Finished, OutputFile
from safelight_processor.outcome import (
    MOST_HANDED_BACK,
    QUARANTINE_AFTER,
    Cancel,
    Complete,
    Drop,
    Fail,
    Interrupted,
    Outcome,
    Park,
    Release,
    Retry,
    decide,
    of_parent,
)

OUTPUT = OutputFile("a.jpg", "/run/a.jpg", "image/jpeg", 1, 1)
PASSING = Failed("storage_unavailable", "Later.", retryable=True)
LASTING = Failed("image_damaged", "Damaged.", retryable=False)
CRASH = Crashed("signal", "killed by SIGSEGV")
QUARANTINED = Fail("quarantined", CATALOGUE["quarantined"].message, False, "quarantined")

TABLE: dict[str, tuple[Ending | Interrupted, int, int, Outcome]] = {
    # name: ending, attempt of three, crashes before, outcome
    "finished": (Finished([OUTPUT], b"{}"), 1, 0, Complete([OUTPUT], b"{}")),
    "finished after a crash": (Finished([], None), 2, 1, Complete([], None)),
    "may pass": (PASSING, 1, 0, Retry("storage_unavailable", "Later.", 4.0)),
    "may pass, last attempt": (PASSING, 3, 0, Fail("storage_unavailable", "Later.", True, "exhausted")),
    "will not pass": (LASTING, 1, 0, Fail("image_damaged", "Damaged.", False, "failed")),
    "first crash": (
        CRASH,
        1,
        0,
        Retry("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, 4.0, crashed=True),
    ),
    "first crash, last attempt": (
        CRASH,
        3,
        0,
        Fail("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, True, "exhausted"),
    ),
    "second crash": (CRASH, 2, 1, QUARANTINED),
    "second crash, last attempt": (CRASH, 3, 1, QUARANTINED),
    "too slow": (
        TimedOut(60.0),
        1,
        0,
        Fail("deadline_exceeded", CATALOGUE["deadline_exceeded"].message, False, "failed"),
    ),
    "too much memory": (
        Failed("memory_exceeded", "Too much.", retryable=False),
        1,
        0,
        Fail("memory_exceeded", "Too much.", False, "failed"),
    ),
    "cancel": (Interrupted("cancel"), 1, 0, Cancel()),
    "drain": (Interrupted("drain"), 3, 1, Release()),
    "no child": (Interrupted("no_child"), 3, 1, Release(4.0)),
    "no storage": (Interrupted("no_storage"), 3, 1, Release(4.0)),
    "lease lost": (Interrupted("lease_lost"), 1, 0, Drop()),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_ending_has_its_outcome(name: str) -> None:
    ending, attempt, crashes, outcome = TABLE[name]
    assert decide(ending, attempt=attempt, max_attempts=3, crashes=crashes, delay=4.0) == outcome


AWAY = Failure("storage_unavailable")


@pytest.mark.parametrize("error", [AWAY, OSError(28, "No space left on device")], ids=str)
def test_storage_that_is_away_is_not_the_fault_of_the_job_until_it_has_waited_long_enough(
    error: Failure | OSError,
) -> None:
    assert of_parent(error, 0) == of_parent(error, MOST_HANDED_BACK - 1) == Interrupted("no_storage")
    assert of_parent(error, MOST_HANDED_BACK) == Failed(AWAY.code, AWAY.message, retryable=True)


def test_bytes_that_are_gone_are_gone() -> None:
    gone = Failure("bytes_missing")
    assert of_parent(gone, 0) == Failed("bytes_missing", gone.message, retryable=False)


failures = st.builds(
    Failed,
    st.sampled_from(sorted(CATALOGUE.keys() - {"dependency_unavailable"})),  # that one parks the pipeline
    st.text(max_size=20),
    st.booleans(),
)
crashes_of = st.builds(
    Crashed, st.sampled_from(["signal", "exit", "memory", "protocol"]), st.text(max_size=9)
)
endings = st.one_of(
    st.builds(Finished, st.just([])),
    failures,
    crashes_of,
    st.builds(TimedOut, st.floats(1, 60)),
    st.builds(Interrupted, st.sampled_from(["cancel", "drain", "lease_lost", "no_child", "no_storage"])),
)


@given(endings, st.integers(1, 5), st.integers(1, 5), st.integers(0, 5), st.floats(0, 600))
def test_no_job_is_tried_beyond_its_attempts_or_its_crashes(
    ending: Ending | Interrupted, attempt: int, max_attempts: int, crashes: int, delay: float
) -> None:
    outcome = decide(ending, attempt=attempt, max_attempts=max_attempts, crashes=crashes, delay=delay)

    assert decide(ending, attempt=attempt, max_attempts=max_attempts, crashes=crashes, delay=delay) == outcome
    if isinstance(outcome, Retry):
        assert attempt < max_attempts
        assert outcome.delay_seconds == delay
        assert crashes + outcome.crashed < QUARANTINE_AFTER or not outcome.crashed
    assert isinstance(outcome, Complete) == isinstance(ending, Finished)
    assert isinstance(outcome, Release | Cancel | Drop) == isinstance(ending, Interrupted)


@given(failures, st.integers(1, 5), st.integers(1, 5))
def test_a_failure_keeps_its_own_code_and_message(failed: Failed, attempt: int, max_attempts: int) -> None:
    outcome = decide(failed, attempt=attempt, max_attempts=max_attempts, crashes=0, delay=1.0)
    assert isinstance(outcome, Retry | Fail)
    assert (outcome.code, outcome.message) == (failed.code, failed.message)


@given(st.lists(crashes_of, min_size=2, max_size=2), st.integers(2, 10))
def test_a_job_that_crashes_whenever_it_runs_ends_after_two_runs(
    endings_of_runs: list[Crashed], max_attempts: int
) -> None:
    first, second = (
        decide(crash, attempt=number + 1, max_attempts=max_attempts, crashes=number, delay=1.0)
        for number, crash in enumerate(endings_of_runs)
    )
    assert isinstance(first, Retry)
    assert first.crashed
    assert second == QUARANTINED


def test_the_decision_needs_no_event_loop() -> None:
    code = "import sys, safelight_processor.outcome; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pipeline_whose_help_is_away_is_parked_and_its_job_loses_no_attempt():
    away = Failed("dependency_unavailable", "The model does not answer.", True)

    assert decide(away, attempt=3, max_attempts=3, crashes=0, handed_back=5, delay=1.0) == Park(
        "The model does not answer."
    )


def test_help_that_never_comes_back_ends_the_job_at_last():
    away = Failed("dependency_unavailable", "The model does not answer.", True)

    ended = decide(away, attempt=3, max_attempts=3, crashes=0, handed_back=MOST_HANDED_BACK, delay=1.0)

    assert isinstance(ended, Fail)
