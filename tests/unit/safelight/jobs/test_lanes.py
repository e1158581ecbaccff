"""In which order lanes are read, and when the front is read again."""

import pytest

from safelight.jobs.lanes import Lane, Lanes

X, Y = Lane("x", 1), Lane("y", 1)


def test_higher_priorities_come_first_and_every_lane_comes():
    order = Lanes().order(["x", "y"])

    assert [lane.priority for lane in order] == [3, 3, 2, 2, 1, 1, 0, 0]
    assert len(set(order)) == 8


def test_pipelines_take_turns_at_being_first():
    lanes = Lanes()

    assert {lanes.order(["x", "y", "z"])[0].pipeline for _ in range(3)} == {"x", "y", "z"}


def test_every_eighth_look_begins_with_the_lowest_priority():
    lanes = Lanes()

    assert [lanes.order(["x"])[0].priority for _ in range(16)].count(0) == 2


def test_the_first_look_begins_at_the_front():
    lanes = Lanes()

    assert lanes.from_front(0.0)
    assert lanes.low(X) == 0


def test_a_reader_begins_where_it_was_a_moment_ago():
    lanes = Lanes()
    lanes.claimed([(X, 10), (X, 12), (Y, 3)], front=True)
    lanes.looked(0.0, 0.001, front=True, short=False)
    lanes.claimed([(X, 15)], front=False)
    lanes.looked(0.05, 0.001, front=False, short=False)

    assert not lanes.from_front(0.2)
    assert lanes.low(X) == 0

    lanes.looked(0.1, 0.001, front=False, short=False)

    assert (lanes.low(X), lanes.low(Y)) == (12, 3)

    lanes.looked(0.2, 0.001, front=False, short=False)

    assert (lanes.low(X), lanes.low(Y)) == (15, 3)


def test_what_a_look_from_elsewhere_finds_takes_no_mark_back():
    lanes = _marked(X, 10)
    lanes.claimed([(X, 4)], front=False)

    assert lanes.low(X) == 10


def test_a_look_from_the_front_that_finds_what_was_left_behind_goes_on_from_there():
    lanes = _marked(X, 10)
    lanes.claimed([(X, 3), (X, 4)], front=True)

    assert lanes.low(X) == 4


def _marked(lane: Lane, rank: int) -> Lanes:
    lanes = Lanes()
    lanes.claimed([(lane, rank)], front=True)
    for moment in range(3):
        lanes.looked(float(moment), 0.001, front=False, short=False)
    assert lanes.low(lane) == rank
    return lanes


def test_the_front_is_read_again_after_a_while():
    lanes = Lanes()
    lanes.looked(0.0, 0.001, front=True, short=False)

    assert lanes.from_front(0.25)


def test_a_look_that_found_too_little_is_followed_by_one_from_the_front():
    lanes = Lanes()
    lanes.looked(0.0, 0.001, front=True, short=False)

    assert lanes.again(0.1, front=False, short=True)
    assert not lanes.again(0.1, front=True, short=True)
    assert not lanes.again(0.1, front=False, short=False)


@pytest.mark.parametrize(("took", "short"), [(0.2, True), (0.2, False), (0.04, False)])
def test_a_front_that_costs_much_is_read_a_twentieth_of_the_time_at_most(took: float, short: bool):
    lanes = Lanes()
    for _ in range(2):
        lanes.looked(0.0, took, front=True, short=short)

    assert not lanes.from_front(19 * took)
    assert lanes.from_front(21 * took)


def test_a_front_that_costs_much_is_not_read_because_there_was_too_little_elsewhere():
    lanes = Lanes()
    for _ in range(2):
        lanes.looked(0.0, 0.2, front=True, short=True)

    assert not lanes.again(3.9, front=False, short=True)


def test_one_slow_look_is_no_reason_to_be_careful():
    lanes = Lanes()
    lanes.looked(0.0, 0.001, front=True, short=True)
    lanes.looked(0.1, 0.9, front=True, short=True)

    assert lanes.from_front(0.2)
