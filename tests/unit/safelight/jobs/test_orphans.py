"""A key tells whose it is."""

from uuid import UUID

import pytest

from safelight.jobs.orphans import Bytes

JOB = "0193b2c4-5d6e-7f80-8123-456789abcdef"


@pytest.mark.parametrize(
    ("key", "lease_epoch"),
    [(f"{JOB}/in/8f3a/0", None), (f"{JOB}/out/12/photo.jpg", 12), (f"{JOB}/out/1/in/2", 1)],
)
def test_inputs_and_outputs_are_known_by_their_keys(key, lease_epoch):
    assert Bytes.of(7, key) == (7, UUID(JOB), lease_epoch, key)


@pytest.mark.parametrize(
    "key",
    [
        JOB,
        f"{JOB}/in",
        f"{JOB}/out/1",
        f"{JOB}/out/x/photo.jpg",
        f"{JOB}/else/1/photo.jpg",
        f"uploads/{JOB}/in/1",
        f"{JOB.upper()}/in/8f3a/0",
        "job/in/1/0",
    ],
)
def test_all_other_keys_are_nobody_s_here(key):
    assert Bytes.of(7, key) is None
