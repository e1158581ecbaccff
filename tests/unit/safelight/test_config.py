"""Settings that contradict each other are refused at the start, by name."""

import pytest

from safelight.config import Settings
from safelight.errors import Failure
from safelight.progress.stream import connect


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


SECRET = "hunter2"
ADDRESSES = {
    "database_url": [
        "postgresql://localhost/safelight",
        "postgres://u:p%40ss@db.example:5432/safelight?sslmode=verify-full",
        "postgresql://u@[::1]:5432/db",
        "postgresql:///db?host=/run/postgresql&port=5433",
        "postgresql://%2Frun%2Fpostgresql/db",
        "postgresql://a:5432,b:5433/db?target_session_attrs=read-write",
    ],
    "redis_url": [
        "redis://",
        "rediss://:p@cache:6380/1",
        "redis://[::1]:6379",
        "unix:///run/redis.sock?db=1",
    ],
}
NONE_AT_ALL = {
    "database_url": [
        "",
        "postgres//nonsense",
        f"localhost:{SECRET}",
        f"mysql://u:{SECRET}@h/db",
        f"postgresql://u:{SECRET}@h:abc/db",
        f"postgresql://u:{SECRET}@h:99999/db",
        f"postgresql://u:{SECRET}/x@h:5432/db",
        f"postgresql://u:{SECRET}@[::1/db",
        f"postgresql://u:{SECRET}@h/db?port=abc",
        f"postgresql://u:{SECRET}@h/db?sslmode={SECRET}",
    ],
    "redis_url": [
        "",
        f"nonsense{SECRET}",
        f"http://:{SECRET}@h",
        f"redis://:{SECRET}@h:abc/0",
        f"redis://:{SECRET}/x@h:6379/0",
        f"redis://:{SECRET}@h:65536",
        f"redis://:{SECRET}@[::1/0",
        f"redis://:{SECRET}@a:1,b:2/0",
    ],
}


def pairs(table):
    return [(setting, address) for setting, addresses in table.items() for address in addresses]


@pytest.mark.parametrize(("setting", "address"), pairs(ADDRESSES))
def test_an_address_may_be_whatever_its_client_understands(setting, address):
    assert getattr(Settings.load({f"SAFELIGHT_{setting.upper()}": address}), setting) == address


@pytest.mark.parametrize(("setting", "address"), pairs(NONE_AT_ALL))
def test_an_address_that_is_none_is_refused_in_one_sentence_without_its_secrets(setting, address):
    with pytest.raises(Failure) as caught:
        Settings.load({f"SAFELIGHT_{setting.upper()}": address})

    sentence = caught.value.message
    assert caught.value.code == "setting_invalid"
    assert sentence.startswith(f"SAFELIGHT_{setting.upper()}: expected ")
    assert SECRET not in sentence
    assert "\n" not in sentence


def test_an_option_of_an_address_that_is_none_is_a_sentence_without_secrets_too():
    with pytest.raises(Failure, match="SAFELIGHT_REDIS_URL: expected ") as caught:
        connect(f"redis://:{SECRET}@h/0?socket_timeout={SECRET}")

    assert SECRET not in str(caught.value)
