"""What the child may do and use. The child calls each step on itself:

    before_imports   as soon as it runs: dies with its parent, gains no privileges, dumps no core
    after_imports    before it says Ready: the last point at which it needs the file system at large;
                     filters on files and system calls belong here
    for_task         around each task: memory, CPU time, file size, taken back afterwards

Only soft limits are set. The memory limit is relative to what the interpreter and its libraries have
mapped already, and CPU time only adds up, so both must be able to rise for the next task; that code which
has taken over the process could raise them too is why the parent has a wall clock and the pod a cgroup.

RLIMIT_NPROC is not among them: it counts every process *and thread* of the user on the node, and does not
hold root at all. What a task starts is killed after it (tree.py).
"""

import ctypes
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from safelight_processor.child import tree
from safelight_processor.child.protocol import Limits

MAX_OPEN_FILES: Final = 64

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38


class CpuTimeExceeded(BaseException):
    """The task has used up its CPU time. No `Exception`: a pipeline's `except Exception` must not eat it."""


def before_imports(parent: int) -> None:
    """Tie this process to `parent` and take away what it will never need."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # also where all processes of a service are told
        signal.signal(number, signal.SIG_IGN)  # they are for the parent, which ends this one by SIGKILL
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above could tie us to it
        os._exit(1)


def after_imports() -> None:
    """Close the door behind the imports."""
    _set_soft(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)


@contextmanager
def for_task(limits: Limits) -> Iterator[None]:
    """Hold one task to its limits.

    Raises:
        CpuTimeExceeded: the CPU time is used up (at the next Python instruction).
        MemoryError, OSError: from within, where the task runs into the other limits.
    """
    usual = signal.signal(signal.SIGXCPU, _cpu_time_exceeded)
    try:
        if (mapped := _mapped_bytes()) is not None:
            _set_soft(resource.RLIMIT_AS, mapped + limits.memory)
        _set_soft(resource.RLIMIT_CPU, math.ceil(_cpu_seconds() + limits.cpu))
        _set_soft(resource.RLIMIT_FSIZE, limits.file)
        yield
    finally:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)  # from here on it would hit our own code
        for which in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
            _set_soft(which, resource.RLIM_INFINITY)
        signal.signal(signal.SIGXCPU, usual)


def end_what_was_started() -> None:
    """Kill and reap every process that the task has left behind."""
    with suppress(ChildProcessError):  # there is none, or none any more
        os.waitpid(-1, os.WNOHANG)
        tree.kill_descendants(os.getpid())
        while True:
            os.waitpid(-1, 0)


def _cpu_time_exceeded(_signal: int, _frame: FrameType | None) -> NoReturn:
    # The kernel repeats the signal each second. Who swallows this exception is killed by the next one,
    # and the parent reads that off the exit status.
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    raise CpuTimeExceeded


def _set_soft(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    unlimited = resource.RLIM_INFINITY
    soft = value if hard == unlimited else hard if value == unlimited else min(value, hard)
    resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> int | None:
    """The size of the address space, or None where it cannot be read (and RLIMIT_AS is not enforced)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
