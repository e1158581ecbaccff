"""Transactions are told, seconds are wanted: looks of the past make the one of the other."""

from safelight.db.horizon import Ages


def test_what_is_as_young_as_the_look_has_no_age():
    ages = Ages()

    assert ages.seconds(100.0, 50, 0) == 0.0
    assert ages.seconds(200.0, 60, 0) == 0.0


def test_a_snapshot_is_as_old_as_the_first_look_that_was_beyond_it():
    ages = Ages()
    ages.seconds(100.0, 50, 0)
    ages.seconds(130.0, 58, 0)

    assert ages.seconds(160.0, 70, 13) == 30.0  # 57 was begun after the first look and before the second
    assert ages.seconds(190.0, 70, 12) == 30.0  # 58 was the next one then
    assert ages.seconds(220.0, 90, 45) == 120.0  # older than all looks: as old as those at least


def test_where_nothing_happens_nothing_grows_old():
    ages = Ages()

    assert [ages.seconds(at, 50, 0) for at in (0.0, 30.0, 60.0)] == [0.0, 0.0, 0.0]
