"""The garbage collector of a role's process."""

import subprocess
import sys

WORK = """
import gc
from safelight import collector
collector.settle()
print(gc.get_freeze_count() > 1000, gc.get_threshold()[0])
looked = gc.get_stats()[0]["collections"]
kept = [[] for _ in range(9_000)]
print(gc.get_stats()[0]["collections"] - looked)
class Node: pass
for _ in range(30_000):
    one, other = Node(), Node()
    one.other, other.other = other, one
print(gc.get_count()[0] < 20_000)
"""


def test_what_is_there_is_left_alone_and_cycles_are_still_collected():
    said = subprocess.run(
        [sys.executable, "-c", WORK], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.split("\n")[:3] == ["True 10000", "0", "True"]
