"""In which order lanes are read, and when the front is read again."""

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


def test_after_enough_was_found_the_next_look_goes_on_from_there():
    lanes = Lanes()
    lanes.claimed([(X, 10), (X, 12), (Y, 3)])
    lanes.looked(0.0, 0.001, front=True, short=False)

    assert not lanes.from_front(0.5)
    assert (lanes.low(X), lanes.low(Y)) == (12, 3)


def test_a_mark_never_goes_back():
    lanes = Lanes()
    lanes.claimed([(X, 10)])
    lanes.claimed([(X, 4)])

    assert lanes.low(X) == 10


def test_the_front_is_read_again_after_a_while():
    lanes = Lanes()
    lanes.looked(0.0, 0.001, front=True, short=False)

    assert lanes.from_front(1.0)


def test_a_look_that_found_too_little_is_followed_by_one_from_the_front():
    lanes = Lanes()
    lanes.looked(0.0, 0.001, front=True, short=False)

    assert lanes.again(0.1, front=False, short=True)
    assert not lanes.again(0.1, front=True, short=True)
    assert not lanes.again(0.1, front=False, short=False)


def test_a_front_that_costs_much_is_read_a_twentieth_of_the_time_at_most():
    lanes = Lanes()
    for _ in range(2):
        lanes.looked(0.0, 0.2, front=True, short=True)

    assert not lanes.from_front(3.9)
    assert not lanes.again(3.9, front=False, short=True)
    assert lanes.from_front(4.1)


def test_one_slow_look_is_no_reason_to_be_careful():
    lanes = Lanes()
    lanes.looked(0.0, 0.001, front=True, short=True)
    lanes.looked(0.1, 0.9, front=True, short=True)

    assert lanes.from_front(0.2)
