"""What a process has started: found through /proc, and killed.

A child is a *subreaper* (limits.py): whoever it started stays its descendant, also after daemonizing out
of its process group. So the walk finds what `killpg` alone would miss. Where /proc has no `children`
files, only the group is left.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROUNDS = 20  # a fork bomb may outrun one round, or two


def descendants(pid: int) -> set[int]:
    """Every process below `pid`, zombies included."""
    found: set[int] = set()
    ahead = [pid]
    while ahead:  # no recursion: who forks deep enough would bring it down
        new = set(_children(ahead.pop())) - found
        found |= new
        ahead += new
    return found


def _children(pid: int) -> Iterator[int]:
    for thread in _listed(Path(f"/proc/{pid}/task")):
        with suppress(OSError, ValueError):  # the thread has ended meanwhile
            yield from map(int, (thread / "children").read_text().split())


def kill_descendants(pid: int) -> int:
    """SIGKILL every process below `pid`, until no new one shows up; answers how many there were."""
    killed: set[int] = set()
    for _ in range(ROUNDS):
        new = descendants(pid) - killed
        if not new:
            break
        for descendant in new:
            _signal(descendant, signal.SIGKILL)
        killed |= new
    return len(killed)


def kill_tree(leader: int) -> None:
    """SIGKILL a group leader, its group and its descendants. The caller has not reaped it yet."""
    _signal(leader, signal.SIGSTOP)  # so that it starts nobody while we look
    kill_descendants(leader)
    kill_group(leader)


def kill_group(leader: int) -> None:
    """SIGKILL a process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it is gone, or there is no /proc
        return []
