"""A run: weighted stages, progress that never falls, statuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.pipelines import Report, Run, Stage

STAGES = [Stage("decode", 3), Stage("encode", 1)]


@pytest.fixture
def begun(run: Run) -> Run:
    run.begin(STAGES, 1000)
    return run


def test_stages_are_reported_when_they_are_entered_and_left_by_their_weight(begun, reports):
    with begun.stage("decode"):
        begun.progress(0.5, "halfway")
    with begun.stage("encode"):
        pass
    assert reports == [
        Report(0.0, "decode", ""),
        Report(37.5, "decode", "halfway"),
        Report(75.0, "decode", "halfway"),
        Report(75.0, "encode", ""),
        Report(100.0, "encode", ""),
    ]


def test_a_stage_that_fails_is_not_reported_as_done(begun, reports):
    def fail_midway() -> None:
        with begun.stage("decode"):
            begun.progress(0.2)
            raise KeyError

    with pytest.raises(KeyError):
        fail_midway()
    assert reports[-1] == Report(15.0, "decode", "")


def test_the_same_report_is_not_sent_twice(begun, reports):
    with begun.stage("decode"):
        begun.progress(0.5, "a")
        begun.progress(0.5, "a")
        begun.progress(0.4, "a")
    assert [report.progress for report in reports] == [0.0, 37.5, 75.0]


def test_an_unknown_stage_is_the_authors_mistake(begun):
    with pytest.raises(ValueError, match="no stage 'paint'"), begun.stage("paint"):
        pass


def test_stages_do_not_nest(begun):
    with begun.stage("decode"), pytest.raises(ValueError, match="still open"), begun.stage("encode"):
        pass


def test_a_long_status_is_cut(begun, reports):
    with begun.stage("decode"):
        begun.progress(0.1, "x" * 500)
    assert len(reports[1].status) == 200


def test_without_stages_the_fraction_is_that_of_the_whole_run(run, reports):
    run.begin([], 1000)
    run.progress(0.25, "a quarter")
    assert reports == [Report(25.0, "", "a quarter")]


@given(
    st.lists(st.tuples(st.sampled_from(["decode", "encode"]), st.floats(-1, 2, allow_nan=False)), max_size=30)
)
def test_progress_never_falls_and_stays_between_0_and_100(tmp_path_factory, steps):
    reports: list[Report] = []
    run = Run("job", [], tmp_path_factory.getbasetemp(), reports.append)
    run.begin(STAGES, 1000)
    for name, fraction in steps:
        with run.stage(name):
            run.progress(fraction)
    numbers = [report.progress for report in reports]
    assert numbers == sorted(numbers)
    assert all(0 <= number <= 100 for number in numbers)
