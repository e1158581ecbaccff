"""`python -m safelight_processor`: claims jobs and runs them until SIGTERM."""

import ctypes
import os
import sys

import uvloop

from safelight import collector
from safelight.config import Settings, unknown
from safelight.errors import Failure
from safelight.telemetry import logs
from safelight_processor import app
from safelight_processor.children import NoChildError

_PR_SET_DUMPABLE = 4


def main() -> int:
    """Runs until it is told to stop; a setting that is wrong is a sentence and exit code 2."""
    try:
        settings = Settings.load()
        for name, meant in unknown(os.environ).items():
            sys.stderr.write(f"{name} sets nothing" + (f"; is {meant} meant?\n" if meant else "\n"))
        logs.configure(settings.log_level, settings.log_format, "processor")
        _hide()
        collector.settle()
        uvloop.run(app.run(settings))
    except (Failure, NoChildError) as error:
        sys.stderr.write(f"{getattr(error, 'message', error)}\n")
        return 2
    return 0


def _hide() -> None:
    """A child of the same user must not read this process's memory or its environment."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
