"""Folders for running jobs, in a folder of this process's own (see `safelight.own_folder`)."""

import tempfile
from pathlib import Path

from safelight.errors import Failure
from safelight.own_folder import OwnFolder, best_place

_PREFIX = "safelight-run-"


class Scratch(OwnFolder):
    """Made once per process; `close` removes all of it."""

    def __init__(self, parent: str) -> None:
        """`parent` is a folder, or empty for the best there is.

        Raises:
            Failure: `setting_invalid`: nothing can be made there.
        """
        place = Path(parent) if parent else best_place()
        try:
            super().__init__(place, _PREFIX)
        except OSError as error:
            raise Failure("setting_invalid", f"SAFELIGHT_SCRATCH: {place}: {error.strerror}") from error

    def folder(self) -> Path:
        """A new folder for one run.

        Raises:
            OSError: the disk is full, or not there.
        """
        return Path(tempfile.mkdtemp(dir=self.root))
