import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.jobs.retry import LONGEST, LONGEST_HANDED_BACK, delay
from safelight.jobs.states import REASONS, TRANSITIONS, is_final, may_follow
from safelight.wire.resources import FINAL_STATES


def test_final_states_are_left_by_reopen_only():
    leaving = {verb for verb, (origins, _) in TRANSITIONS.items() if origins & FINAL_STATES}

    assert leaving == {"reopen"}


def test_every_state_can_be_reached_and_has_reasons():
    reached = set().union(*(to for _, to in TRANSITIONS.values()))

    assert reached == set(REASONS)
    assert all(REASONS.values())


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (None, "queued", True),
        (None, "running", False),
        ("queued", "running", True),
        ("queued", "succeeded", False),
        ("running", "queued", True),
        ("succeeded", "queued", False),
        ("failed", "queued", True),
        ("canceled", "running", False),
    ],
)
def test_the_state_machine_allows_what_is_drawn(before, after, allowed):
    assert may_follow(before, after) is allowed


def test_final_is_what_the_wire_says():
    assert [state for state in REASONS if is_final(state)] == ["succeeded", "failed", "canceled"]


@given(st.integers(1, 60), st.floats(0.1, 60), st.floats(0, 0.999))
def test_a_retry_waits_between_half_and_the_whole_of_its_step(attempt, base, chance):
    step = min(LONGEST, base * 2 ** (attempt - 1))

    assert step / 2 <= delay(attempt, base, chance) <= step


@given(st.integers(1, 5000))
def test_however_often_a_job_was_handed_back_its_wait_is_bounded_and_never_shrinks(times):
    waits = [delay(number, 1.0, 0.5, LONGEST_HANDED_BACK) for number in (times, times + 1)]

    assert 0.75 <= waits[0] <= waits[1] <= LONGEST_HANDED_BACK
