from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight_api.told import Answer, Told

KEY = JobKey(1, uuid4())


def answer(*cursor: int) -> Answer:
    return Answer(f'"{Cursor(*cursor)}"', str(cursor).encode())


def test_progress_that_was_told_is_not_taken_back_within_its_run():
    told = Told()
    assert told.newest(KEY, answer(1, 2, 7)) == answer(1, 2, 7)

    assert told.newest(KEY, answer(1, 2, 3)) == answer(1, 2, 7)
    assert told.newest(KEY, answer(1, 2)) == answer(1, 2, 7)
    assert told.newest(KEY, answer(1, 2, 8)) == answer(1, 2, 8)


def test_what_another_job_was_told_is_no_matter():
    told = Told()
    told.newest(KEY, answer(1, 2, 7))

    assert told.newest(JobKey(2, KEY.id), answer(1, 2, 3)) == answer(1, 2, 3)


def test_an_event_is_told_whatever_the_progress_before_it_was():
    told = Told()
    told.newest(KEY, answer(1, 2, 7))

    assert told.newest(KEY, answer(1, 3)) == answer(1, 3)
    assert told.newest(KEY, answer(1, 2, 7)) == answer(1, 2, 7)  # the truth itself is not disputed


@given(st.lists(st.tuples(st.integers(2, 3), st.integers(0, 9))))
def test_within_a_run_time_never_goes_back(read):
    told, last = Told(), Cursor(0, 0)
    for seq, n in sorted(read, key=lambda cursor: cursor[0]):
        now = told.newest(KEY, answer(1, seq, n)).cursor
        assert now >= last
        last = now


def test_the_memory_is_bounded():
    told, keys = Told(most=2), [JobKey(1, uuid4()) for _ in range(3)]
    for key in keys:
        told.newest(key, answer(1, 2, 7))

    assert [told.newest(key, answer(1, 2, 1)).cursor.n for key in reversed(keys)] == [7, 7, 1]
