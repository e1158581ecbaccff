"""How many cores there were for us: what others have used of this machine meanwhile is not the queue's fault.

`watch` asks before and after each window.
"""

import os
import time
from pathlib import Path
from typing import NamedTuple

import psutil

_STAT = Path("/proc/stat")
_TICK = os.sysconf("SC_CLK_TCK")
_IDLE = slice(3, 5)  # idle, and waiting for a disk
_COUNTED = 8  # user to steal; the guests after them are in user already
_LEAST = 0.1


class Look(NamedTuple):
    """Seconds of all cores so far: by everybody, by us; and the time."""

    busy: float
    ours: float
    at: float

    def cores_since(self, before: "Look") -> float:
        """Cores that nobody else has used in between."""
        seconds = max(self.at - before.at, 1e-3)
        others = max(0.0, (self.busy - before.busy) - (self.ours - before.ours)) / seconds
        return max(_LEAST, (os.cpu_count() or 1) - others)


class Machine:
    """Looks at it. We are this process and all that it has started, whether it lives or not."""

    def look(self) -> Look:
        """The CPU time that was used until now."""
        return Look(_busy(), _ours(), time.monotonic())


def _busy() -> float:
    try:
        ticks = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1 : _COUNTED + 1]]
    except OSError:
        return 0.0  # no Linux: then everything counts as ours
    return (sum(ticks) - sum(ticks[_IDLE])) / _TICK


def _ours() -> float:
    mine = psutil.Process()
    total = sum(os.times()[:4])
    for child in mine.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])  # with those of its children that it has reaped
        except psutil.Error:
            continue  # it has just ended: its parent has its time
    return total
