from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Failure
from safelight.wire.cursor import Cursor

numbers = st.integers(0, 999_999_999)
cursors = st.builds(Cursor, numbers, numbers, numbers)


@given(cursors)
def test_what_is_written_is_read_again(cursor):
    assert Cursor.parse(str(cursor)) == cursor


@given(st.text(max_size=30))
def test_any_other_text_is_a_typed_failure(text):
    with suppress(Failure):
        assert Cursor.parse(text) >= (0, 0, 0)


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":1", "1:2.", "1:-2", "1:2.3.4", "٣:1", "1:2 ", "9999999999:1"]
)
def test_a_broken_cursor_is_refused(text):
    with pytest.raises(Failure):
        Cursor.parse(text)


@given(cursors, cursors)
def test_an_incarnation_orders_before_an_event_and_an_event_before_progress(a, b):
    if a.epoch != b.epoch:
        assert (a < b) == (a.epoch < b.epoch)
    elif a.seq != b.seq:
        assert (a < b) == (a.seq < b.seq)


@pytest.mark.parametrize(
    ("told", "beyond"),
    [
        ("1:2", False),
        ("1:2.5000", False),
        ("1:1.999999999", False),
        ("1:2.999999999", True),
        ("1:3", True),
        ("2:1", True),
    ],
)
def test_a_cursor_is_beyond_what_is_known_when_nobody_can_have_been_told_it(told, beyond):
    assert Cursor.parse(told).is_beyond(Cursor(1, 2, 7)) is beyond


def test_the_durable_part_has_no_progress():
    assert str(Cursor(2, 7, 31).durable) == "2:7"
