"""One process of the service: how it is started, when it is ready, how it is told to stop.

Made by `postgres`, `redis` and `up`; used by the supervisor, and by the tests through `start` and `stop`.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class CannotStartError(Exception):
    """Something a person has to change first; the message is one sentence for them."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the supervisor needs to know of a process. Times are seconds.

    `ready` answers soon (a second at most) and may be called from any thread. `before` runs ahead of
    every start and puts right what a crash left behind.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    before: Callable[[], None] = lambda: None
    cwd: Path | None = None
    user: int | None = None
    group: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    ready_within: float = 60.0
    patience: float = 10.0

    def options(self) -> dict[str, Any]:
        """Keyword arguments of `subprocess.Popen`, and of its asyncio cousin."""
        return {
            "env": dict(self.env),
            "cwd": self.cwd,
            "stdin": subprocess.DEVNULL,
            # A terminal's Ctrl-C goes to a whole session: parts have their own, so that they stop in order.
            "start_new_session": True,
            "preexec_fn": dies_with_parent(self.stop_signal),
            **as_user(self.user, self.group),
        }


def as_user(user: int | None, group: int | None) -> dict[str, Any]:
    """The options that make a process run as somebody else; none at all for ourselves."""
    return {} if user is None else {"user": user, "group": group, "extra_groups": []}


def dies_with_parent(number: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends this signal when the thread that started the process ends.

    The thread, not the process: so parts are started from the main thread, which lives longest.
    """
    parent = os.getpid()

    def arrange() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(number))
            if os.getppid() != parent:  # it died before we could ask
                os._exit(1)

    return arrange


def start(part: Part, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Starts a part and waits until it is ready.

    Raises:
        CannotStartError: it ended, or was not ready in time.
    """
    part.before()
    process = subprocess.Popen(part.argv, stdout=log, stderr=log, **part.options())  # noqa: S603
    give_up = time.monotonic() + part.ready_within
    try:
        while not part.ready():
            if process.poll() is not None:
                raise CannotStartError(f"{part.name} ended with {process.returncode} while starting.")
            if time.monotonic() > give_up:
                raise CannotStartError(f"{part.name} was not ready within {part.ready_within:g} s.")
            time.sleep(0.01)
    except BaseException:
        kill(process)
        raise
    return process


def stop(part: Part, process: "subprocess.Popen[bytes]") -> int:
    """Asks the process to stop, makes it stop when its patience is over; answers its exit code."""
    if process.poll() is None:
        process.send_signal(part.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            process.wait(part.patience)
    return kill(process)


def kill(process: "subprocess.Popen[bytes]") -> int:
    """Ends the process and everything in its group, now; answers its exit code."""
    # Not yet waited for, or its group not yet empty: the number cannot have gone to somebody else.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
