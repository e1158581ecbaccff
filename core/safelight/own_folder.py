"""A folder of a process's own, for what need not outlive it: on a RAM disk where there is one.

Used by the processor for running jobs and by the API for the metrics of its processes. A process that was
killed leaves its folder behind; the next of its kind removes it. Who still lives is told by a lock that
dies with its holder, so a recycled process number deceives nobody.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

_LOCK = "lock"
_RAM_DISK = Path("/dev/shm")  # noqa: S108


def best_place() -> Path:
    """Where such folders belong: a full disk of the data does not reach the RAM disk."""
    return _RAM_DISK if os.access(_RAM_DISK, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


class OwnFolder:
    """Made at once, as `root`; `close` removes all of it. What the dead of that prefix have left goes too."""

    def __init__(self, parent: Path, prefix: str) -> None:
        """Makes `parent` too, where it is not there.

        Raises:
            OSError: it cannot be made or written to.
        """
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, prefix)
        self.root = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._lock = (self.root / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now can it be taken for left behind: nobody may find it between the file and its lock.
        self._lock.write(f"process {os.getpid()}\n")
        self._lock.flush()

    def close(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock.close()


def _sweep(parent: Path, prefix: str) -> None:
    for left in parent.glob(f"{prefix}*"):
        with suppress(OSError), (left / _LOCK).open("r+") as lock:
            if _is_free(lock) and lock.read():
                shutil.rmtree(left, ignore_errors=True)


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
