"""Folders for running jobs, in a folder of this process's own, on a RAM disk where there is one.

A process that was killed leaves its folder behind; the next one to start removes it. Who still lives
is told by a lock that dies with its holder, so a recycled process number deceives nobody.
"""

import fcntl
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

_PREFIX = "safelight-run-"
_LOCK = "lock"
_RAM_DISK = Path("/dev/shm")  # noqa: S108


class Scratch:
    """Made once per process; `close` removes all of it."""

    def __init__(self, parent: str) -> None:
        """`parent` is a folder, or empty for the best there is."""
        ram = _RAM_DISK if _RAM_DISK.is_dir() else Path(tempfile.gettempdir())
        self._parent = Path(parent) if parent else ram
        self._parent.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
        self._lock = (self.root / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def folder(self) -> Path:
        """A new folder for one run.

        Raises:
            OSError: the disk is full, or not there.
        """
        return Path(tempfile.mkdtemp(dir=self.root))

    def close(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock.close()

    def _sweep(self) -> None:
        """Removes what processes that are gone have left."""
        for left in self._parent.glob(f"{_PREFIX}*"):
            with suppress(OSError), (left / _LOCK).open("r+") as lock:
                if _is_free(lock):
                    shutil.rmtree(left, ignore_errors=True)


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
