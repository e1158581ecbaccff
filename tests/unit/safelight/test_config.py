"""Settings that contradict each other are refused at the start, by name."""

import pytest

from safelight.config import Settings
from safelight.errors import Failure


def test_the_defaults_fit_together():
    assert Settings.load({}) == Settings()


def test_a_lease_has_room_for_three_heartbeats():
    environ = {"SAFELIGHT_LEASE_SECONDS": "6", "SAFELIGHT_HEARTBEAT_SECONDS": "2"}
    assert Settings.load(environ).lease_seconds == 6.0

    with pytest.raises(Failure) as caught:
        Settings.load(environ | {"SAFELIGHT_HEARTBEAT_SECONDS": "2.5"})

    assert str(caught.value) == (
        "setting_invalid: SAFELIGHT_LEASE_SECONDS: expected at least 3 times "
        "SAFELIGHT_HEARTBEAT_SECONDS (2.5), got 6"
    )
