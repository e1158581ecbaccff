"""What a dead child died of."""

import signal

import pytest

from safelight_processor.child.ending import Crashed, TimedOut, of_dead_child
from safelight_processor.child.protocol import Limits

LIMITS = Limits(memory=1, cpu=7.0, file=1, pixels=1)


@pytest.mark.parametrize(
    ("returncode", "stderr", "reason", "detail"),
    [
        (-signal.SIGSEGV, "", "signal", "killed by SIGSEGV"),
        (-signal.SIGKILL, "", "signal", "killed by SIGKILL, and not by its parent"),
        (-(signal.SIGRTMIN + 3), "", "signal", "killed by signal 37"),
        (3, "", "exit", "exited with code 3"),
        (0, "", "exit", "exited with code 0"),
        (-signal.SIGABRT, "what():  std::bad_alloc", "memory", "killed by SIGABRT"),
        (1, "MemoryError", "memory", "exited with code 1"),
        (-signal.SIGABRT, "double free or corruption", "signal", "killed by SIGABRT"),
    ],
)
def test_a_death_has_its_reason(returncode: int, stderr: str, reason: str, detail: str) -> None:
    crashed = of_dead_child(returncode, stderr, LIMITS)
    assert isinstance(crashed, Crashed)
    assert crashed.reason == reason
    assert crashed.detail.startswith(detail)
    assert crashed.stderr == stderr


def test_a_child_that_has_used_up_its_cpu_time_has_timed_out() -> None:
    assert of_dead_child(-signal.SIGXCPU, "", LIMITS) == TimedOut(7.0)
