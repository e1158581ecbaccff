"""How a run in a child can end, and what a dead child died of. Pure.

Finished, Failed   the child said so itself        (protocol.py)
Crashed            it died, or stopped making sense
TimedOut           it took too long and was killed
"""

import re
import signal
from typing import Literal

from msgspec import Struct

from safelight_processor.child.protocol import Failed, Finished, Limits

CrashReason = Literal["signal", "exit", "memory", "protocol"]

# What C++, glibc, Python and OpenCV write before they give up on memory. RLIMIT_AS makes native code see
# a failed allocation, and much of it answers with abort() or a null pointer, not with a MemoryError.
MEMORY_WORDS = re.compile(
    r"bad_alloc|MemoryError|out of memory|cannot allocate memory|Insufficient memory", re.IGNORECASE
)


class Crashed(Struct, frozen=True):
    """The child died or broke the protocol; `detail` says how, `stderr` is the last it wrote (4 KiB)."""

    reason: CrashReason
    detail: str
    stderr: str = ""

    @property
    def kind(self) -> str:
        """What two crashes that are the same have in common: signal or exit code, or else the reason."""
        return self.detail if self.reason in {"signal", "exit"} else self.reason


class TimedOut(Struct, frozen=True):
    """The run took longer than `seconds`, by the clock or of CPU, and its child was killed."""

    seconds: float


Ending = Finished | Failed | Crashed | TimedOut


def of_dead_child(returncode: int, stderr: str, limits: Limits) -> Crashed | TimedOut:
    """The ending of a run whose child died by itself; `returncode` as `subprocess` gives it."""
    name = _signal_name(-returncode) if returncode < 0 else ""
    if name == "SIGXCPU":
        return TimedOut(limits.cpu)
    detail = f"killed by {name}" if name else f"exited with code {returncode}"
    if MEMORY_WORDS.search(stderr):
        return Crashed("memory", detail, stderr)
    if name == "SIGKILL":
        detail += ", and not by its parent: the kernel ran out of memory, most likely"
    return Crashed("signal" if name else "exit", detail, stderr)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
