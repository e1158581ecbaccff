"""What the queue is told about a run that has ended."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import CATALOGUE, Failure
from safelight_processor.child.ending import Crashed, Ending, TimedOut, of_dead_child
from safelight_processor.child.protocol import Failed, Finished, Limits, OutputFile
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

OUT_OF_MEMORY = of_dead_child(-9, "", Limits(1, 1, 1, 1))
TABLE: dict[str, tuple[Ending | Interrupted, int, list[str], Outcome]] = {
    # name: ending, attempt of three, crashes before, outcome
    "finished": (Finished([OUTPUT], b"{}"), 1, [], Complete([OUTPUT], b"{}")),
    "finished after a crash": (Finished([], None), 2, [CRASH.kind], Complete([], None)),
    "may pass": (PASSING, 1, [], Retry("storage_unavailable", "Later.", 4.0)),
    "may pass, last attempt": (PASSING, 3, [], Fail("storage_unavailable", "Later.", True, "exhausted")),
    "will not pass": (LASTING, 1, [], Fail("image_damaged", "Damaged.", False, "failed")),
    "first crash": (
        CRASH,
        1,
        [],
        Retry("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, 4.0, crash="killed by SIGSEGV"),
    ),
    "first crash, last attempt": (
        CRASH,
        3,
        [],
        Fail("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, True, "exhausted"),
    ),
    "second crash, of another kind": (
        OUT_OF_MEMORY,
        2,
        [CRASH.kind],
        Retry("pipeline_crashed", CATALOGUE["pipeline_crashed"].message, 4.0, crash=OUT_OF_MEMORY.kind),
    ),
    "third crash, like the first": (CRASH, 3, [CRASH.kind, OUT_OF_MEMORY.kind], QUARANTINED),
    "second crash": (CRASH, 2, [CRASH.kind], QUARANTINED),
    "second crash, last attempt": (CRASH, 3, [CRASH.kind], QUARANTINED),
    "too slow": (
        TimedOut(60.0),
        1,
        [],
        Fail("deadline_exceeded", CATALOGUE["deadline_exceeded"].message, False, "failed"),
    ),
    "too much memory": (
        Failed("memory_exceeded", "Too much.", retryable=False),
        1,
        [],
        Fail("memory_exceeded", "Too much.", False, "failed"),
    ),
    "cancel": (Interrupted("cancel"), 1, [], Cancel()),
    "drain": (Interrupted("drain"), 3, [CRASH.kind], Release()),
    "no child": (Interrupted("no_child"), 3, [CRASH.kind], Release(4.0)),
    "no storage": (Interrupted("no_storage"), 3, [CRASH.kind], Release(4.0)),
    "lease lost": (Interrupted("lease_lost"), 1, [], Drop()),
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


# What a job is handed back for, and no attempt is counted, until that was often enough.
HANDED_BACK = {"dependency_unavailable": Park, "storage_unavailable": Release}


@pytest.mark.parametrize("attempt", [1, 3], ids=["first", "last"])
@pytest.mark.parametrize("code", CATALOGUE)
def test_what_is_done_about_a_failure_is_what_the_catalogue_says_of_it(code: str, attempt: int) -> None:
    """Whether it comes from a child or from the parent of one: a retry, if that helps and one is left."""
    kind = CATALOGUE[code]
    met = Failure(code)

    def done(ending: Ending | Interrupted, handed_back: int) -> Outcome:
        return decide(ending, attempt=attempt, max_attempts=3, crashes=[], delay=4.0, handed_back=handed_back)

    if code in HANDED_BACK:
        assert kind.retryable
        assert isinstance(done(of_parent(met, 0), 0), HANDED_BACK[code])
    said = Failed(code, met.message, met.retryable)
    for outcome in (done(said, MOST_HANDED_BACK), done(of_parent(met, MOST_HANDED_BACK), MOST_HANDED_BACK)):
        if kind.retryable and attempt < 3:
            assert outcome == Retry(code, kind.message, 4.0)
        else:
            reason = "exhausted" if kind.retryable else "failed"
            assert outcome == Fail(code, kind.message, kind.retryable, reason)


def test_what_the_processor_says_by_itself_is_in_the_catalogue_as_it_is_said() -> None:
    """A crash may pass; what took too long, or brought its child down twice, will do so again."""
    endings: dict[str, tuple[Ending, int, list[str]]] = {
        "pipeline_crashed": (CRASH, 3, []),
        "quarantined": (CRASH, 1, [CRASH.kind]),
        "deadline_exceeded": (TimedOut(1.0), 1, []),
    }
    for code, (ending, attempt, crashes) in endings.items():
        outcome = decide(ending, attempt=attempt, max_attempts=3, crashes=crashes, delay=4.0)
        assert isinstance(outcome, Fail)
        assert (outcome.code, outcome.retryable) == (code, CATALOGUE[code].retryable)


failures = st.builds(
    Failed,
    st.sampled_from(sorted(CATALOGUE.keys() - {"dependency_unavailable"})),  # that one parks the pipeline
    st.text(max_size=20),
    st.booleans(),
)
crashes_of = st.builds(
    Crashed, st.sampled_from(["signal", "exit", "memory", "protocol"]), st.text(max_size=9)
)
kinds = crashes_of.map(lambda crash: crash.kind)
endings = st.one_of(
    st.builds(Finished, st.just([])),
    failures,
    crashes_of,
    st.builds(TimedOut, st.floats(1, 60)),
    st.builds(Interrupted, st.sampled_from(["cancel", "drain", "lease_lost", "no_child", "no_storage"])),
)


@given(endings, st.integers(1, 5), st.integers(1, 5), st.lists(kinds, max_size=5), st.floats(0, 600))
def test_no_job_is_tried_beyond_its_attempts_or_its_crashes(
    ending: Ending | Interrupted, attempt: int, max_attempts: int, crashes: list[str], delay: float
) -> None:
    outcome = decide(ending, attempt=attempt, max_attempts=max_attempts, crashes=crashes, delay=delay)

    assert decide(ending, attempt=attempt, max_attempts=max_attempts, crashes=crashes, delay=delay) == outcome
    if isinstance(outcome, Retry):
        assert attempt < max_attempts
        assert outcome.delay_seconds == delay
        assert outcome.crash is None or crashes.count(outcome.crash) + 1 < QUARANTINE_AFTER
    assert isinstance(outcome, Complete) == isinstance(ending, Finished)
    assert isinstance(outcome, Release | Cancel | Drop) == isinstance(ending, Interrupted)


@given(failures, st.integers(1, 5), st.integers(1, 5))
def test_a_failure_keeps_its_own_code_and_message(failed: Failed, attempt: int, max_attempts: int) -> None:
    outcome = decide(failed, attempt=attempt, max_attempts=max_attempts, crashes=[], delay=1.0)
    assert isinstance(outcome, Retry | Fail)
    assert (outcome.code, outcome.message) == (failed.code, failed.message)


@given(crashes_of, st.integers(2, 10))
def test_a_job_whose_child_dies_twice_of_the_same_is_quarantined(crash: Crashed, max_attempts: int) -> None:
    first = decide(crash, attempt=1, max_attempts=max_attempts, crashes=[], delay=1.0)
    assert isinstance(first, Retry)
    assert first.crash is not None
    assert (
        decide(crash, attempt=2, max_attempts=max_attempts, crashes=[first.crash], delay=1.0) == QUARANTINED
    )


@given(st.lists(crashes_of, min_size=1, max_size=9, unique_by=lambda crash: crash.kind))
def test_crashes_of_different_kinds_end_a_job_only_with_its_attempts(crashes: list[Crashed]) -> None:
    kinds: list[str] = []
    for attempt, crash in enumerate(crashes, 1):
        outcome = decide(crash, attempt=attempt, max_attempts=len(crashes), crashes=kinds, delay=1.0)
        if attempt < len(crashes):
            assert isinstance(outcome, Retry)
        else:
            assert isinstance(outcome, Fail)
            assert (outcome.code, outcome.reason) == ("pipeline_crashed", "exhausted")
        kinds.append(crash.kind)


def test_what_a_child_died_of_tells_its_crash_from_another() -> None:
    limits = Limits(1, 1, 1, 1)
    deaths = [(-9, ""), (-11, ""), (-6, ""), (-6, "std::bad_alloc"), (3, ""), (4, "")]
    kinds = [of_dead_child(code, stderr, limits).kind for code, stderr in deaths]

    assert len(set(kinds)) == len(kinds)
    assert of_dead_child(-11, "at 0x1", limits).kind == of_dead_child(-11, "at 0x2", limits).kind
    assert Crashed("protocol", "said 1").kind == Crashed("protocol", "said 2").kind


def test_the_decision_needs_no_event_loop() -> None:
    code = "import sys, safelight_processor.outcome; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pipeline_whose_help_is_away_is_parked_and_its_job_loses_no_attempt():
    away = Failed("dependency_unavailable", "The model does not answer.", True)

    assert decide(away, attempt=3, max_attempts=3, crashes=[], handed_back=5, delay=1.0) == Park(
        "The model does not answer."
    )


def test_help_that_never_comes_back_ends_the_job_at_last():
    away = Failed("dependency_unavailable", "The model does not answer.", True)

    ended = decide(away, attempt=3, max_attempts=3, crashes=[], handed_back=MOST_HANDED_BACK, delay=1.0)

    assert isinstance(ended, Fail)
