"""Forecasts are honest: drawn runs fall below p50 half of the time, and below p90 nine times of ten."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.jobs.eta import Pace, Range, rest, size_class, total, wait

PACE = Pace(4.0, 9.0)
seconds = st.floats(0.01, 1000)
paces = st.builds(lambda p50, factor: Pace(p50, p50 * factor), seconds, st.floats(1, 20))


def runs(count: int, seed: int) -> list[float]:
    """Service times with the quantiles of PACE."""
    chance = random.Random(seed)
    sigma = (math.log(PACE.p90) - math.log(PACE.p50)) / 1.2815515655446004
    return [chance.lognormvariate(math.log(PACE.p50), sigma) for _ in range(count)]


def shares(forecast: Range, times: list[float]) -> tuple[float, float]:
    return (
        sum(time <= forecast.p50 for time in times) / len(times),
        sum(time <= forecast.p90 for time in times) / len(times),
    )


def test_a_run_that_begins_now_takes_what_runs_take():
    assert rest(0.0, PACE) == pytest.approx(PACE)


@pytest.mark.parametrize("ran", [1.0, 4.0, 12.0])
def test_the_rest_of_a_run_is_told_from_the_runs_that_lasted_as_long(ran):
    left = [time - ran for time in runs(200_000, 1) if time > ran]

    assert shares(rest(ran, PACE), left) == pytest.approx((0.5, 0.9), abs=0.02)


@pytest.mark.parametrize(("position", "slots"), [(1, 1), (10, 1), (40, 4), (1000, 8)])
def test_the_wait_is_told_from_the_jobs_before_and_the_slots(position, slots):
    chance = random.Random(2)
    waits = []
    for _ in range(400):
        free = [0.0] * slots
        for time in runs(position, chance.randrange(10**9)):
            free[free.index(min(free))] += time
        waits.append(min(free))
    told = wait(position, slots, PACE)

    waits.sort()
    assert told.p50 == pytest.approx(waits[200], rel=0.35, abs=PACE.p50)
    assert told.p90 == pytest.approx(waits[360], rel=0.35, abs=PACE.p90)


def test_who_is_next_waits_for_nobody_before():
    assert wait(0, 4, PACE).p50 == 0.0


@given(st.integers(0, 1000), st.integers(0, 64), paces, st.floats(0, 10_000))
def test_a_range_is_in_order_and_never_in_the_past(position, slots, pace, ran):
    for told in (
        wait(position, slots, pace),
        rest(ran, pace),
        total(wait(position, slots, pace), rest(ran, pace)),
    ):
        assert 0 <= told.p50 <= told.p90 < math.inf


def test_size_classes_grow_with_the_image():
    assert [size_class(megapixels) for megapixels in (0.1, 1, 3.9, 4, 12, 16, 100)] == [0, 1, 1, 2, 2, 3, 3]
