"""The limits of a task hold while it runs, and not a moment longer."""

import subprocess
import sys

import msgspec

# In a process of its own: the test's own limits are not to be played with.
AROUND_A_TASK = """
import json, resource, signal
from safelight_processor.child import limits
from safelight_processor.child.protocol import Limits

NAMES = "AS", "CPU", "FSIZE"

def now():
    return {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0] for name in NAMES}

before = now(), signal.getsignal(signal.SIGXCPU)
try:
    with limits.for_task(Limits(memory=2**28, cpu=100.0, file=12345, pixels=1)):
        during = now()
        bytearray(2**29)
except MemoryError:
    failed = True
assert (now(), signal.getsignal(signal.SIGXCPU)) == before
bytearray(2**29)
print(json.dumps({"during": during, "failed": failed}))
"""


def test_limits_are_set_for_the_task_and_taken_back_when_it_fails() -> None:
    answer = subprocess.run([sys.executable, "-c", AROUND_A_TASK], check=True, capture_output=True)
    seen = msgspec.json.decode(answer.stdout)
    assert seen["failed"]
    assert 2**28 < seen["during"]["AS"] < 2**32
    assert 100 <= seen["during"]["CPU"] <= 102
    assert seen["during"]["FSIZE"] == 12345
