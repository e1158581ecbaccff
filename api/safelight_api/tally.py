"""Where the metrics of several API processes meet: one folder, a few files a process, mapped into its memory.

`__main__` makes the folder before Granian starts; each worker makes its files (`reserve`) before
prometheus_client does. That would map files with holes: a page that a full disk cannot give then ends the
process with a bus error, at whichever request counts something new. So the room is taken beforehand.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safelight.errors import Failure
from safelight.own_folder import OwnFolder, best_place

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "safelight-metrics-"
# As prometheus_client names its files, and more than all labels of an API fill: it never grows one.
_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_mostrecent")
_ROOM = 256 * 1024  # bytes


@contextmanager
def meeting_place(workers: int) -> Iterator[None]:
    """The folder, for as long as the block lasts. A single process counts in its own memory.

    Raises:
        Failure: `setting_invalid`: there is no place where it could be made.
    """
    if workers == 1:
        yield
        return
    try:
        folder = OwnFolder(best_place(), _PREFIX)
    except OSError as error:
        raise Failure(
            "setting_invalid", f"TMPDIR: no folder can be made for the metrics: {error.strerror}"
        ) from error
    os.environ[VARIABLE] = str(folder.root)
    try:
        yield
    finally:
        folder.close()


def reserve() -> bool:
    """Takes the room of this process. False when there is none: then it counts for itself alone.

    To be called before prometheus_client is imported.
    """
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return True
    files = [Path(folder) / f"{kind}_{os.getpid()}.db" for kind in _KINDS]
    try:
        for file in files:
            if not file.exists():  # an earlier process may have had the same number; its counts go on
                file.write_bytes(bytes(_ROOM))
    except OSError:
        for file in files:
            file.unlink(missing_ok=True)
        del os.environ[VARIABLE]
        return False
    return True
