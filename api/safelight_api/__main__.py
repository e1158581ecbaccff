"""`python -m safelight_api`: the API on Granian, in as many processes as SAFELIGHT_WORKERS says."""

import os
import sys

from safelight.config import Settings, unknown
from safelight.errors import Failure
from safelight_api.tally import meeting_place


def main() -> int:
    """Serves until it is told to stop; a setting that is wrong is a sentence and exit code 2."""
    try:
        settings = Settings.load()
    except Failure as failure:
        sys.stderr.write(f"{failure.message}\n")
        return 2
    for name, meant in unknown(os.environ).items():
        sys.stderr.write(f"{name} sets nothing" + (f"; is {meant} meant?\n" if meant else "\n"))
    with meeting_place(settings.workers):
        _serve(settings)
    return 0


def _serve(settings: Settings) -> None:
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces, Loops  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    Granian(
        "safelight_api.worker:create",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.workers,
        respawn_failed_workers=True,
        # Long-polls and streams each hold a place; by default the 1025th would hang without a word.
        backlog=4096,
        backpressure=20_000,
        workers_kill_timeout=5,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    sys.exit(main())
