"""Folders for running jobs, in a folder of this process's own (see `safelight.own_folder`)."""

import tempfile
from pathlib import Path

from safelight.own_folder import OwnFolder, best_place

_PREFIX = "safelight-run-"


class Scratch(OwnFolder):
    """Made once per process; `close` removes all of it."""

    def __init__(self, parent: str) -> None:
        """`parent` is a folder, or empty for the best there is."""
        super().__init__(Path(parent) if parent else best_place(), _PREFIX)

    def folder(self) -> Path:
        """A new folder for one run.

        Raises:
            OSError: the disk is full, or not there.
        """
        return Path(tempfile.mkdtemp(dir=self.root))
