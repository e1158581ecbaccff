from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Failure
from safelight.keys.tokens import Signer
from safelight.wire.key import JobKey

NOW = 1_800_000_000
KEY = JobKey(7, uuid4())
signer = Signer([b"secret"])


def refused(token: str, purpose="job", now: float = NOW, by: Signer = signer) -> bool:
    try:
        by.check(purpose, token, now)
    except Failure as failure:
        return failure.code == "unauthorized"
    return False


def test_a_token_opens_the_job_it_was_made_for():
    assert signer.check("job", signer.token("job", KEY, NOW + 60), NOW) == KEY


def test_a_token_ends():
    assert refused(signer.token("job", KEY, NOW - 1))


def test_a_token_for_files_does_not_open_the_job():
    assert refused(signer.token("files", KEY, NOW + 60))


@given(st.integers(0, 54), st.integers(1, 63))
def test_a_token_with_any_letter_changed_is_refused(place, by):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = signer.token("job", KEY, NOW + 60)
    place %= len(token) - 1  # the last letter has bits that mean nothing
    other = letters[(letters.index(token[place]) + by) % 64]

    assert refused(token[:place] + other + token[place + 1 :])


@given(st.text(max_size=80))
def test_nonsense_is_refused_and_never_an_error(text):
    assert refused(text)


def test_an_old_secret_still_opens_and_the_newest_signs():
    old, both = Signer([b"old"]), Signer([b"old", b"new"])

    assert both.check("job", old.token("job", KEY, NOW + 60), NOW) == KEY
    assert refused(both.token("job", KEY, NOW + 60), by=old)


def test_another_tenants_job_is_another_token():
    token = signer.token("job", KEY, NOW + 60)

    assert signer.check("job", token, NOW) != JobKey(8, KEY.id)


@pytest.mark.parametrize("token", ["", "=", "A" * 55, "A" * 1000])
def test_short_and_long_tokens_are_refused(token):
    assert refused(token)
