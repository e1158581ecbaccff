"""`python -m safelight_api`: the API on Granian, in as many processes as SAFELIGHT_WORKERS says."""

import os
import socket
import sys

from safelight.config import Settings, unknown
from safelight.errors import Failure
from safelight.progress.stream import connect
from safelight.storage.store import folder_of
from safelight_api.tally import meeting_place


def main() -> int:
    """Serves until it is told to stop; a setting that is wrong is a sentence and exit code 2."""
    try:
        settings = Settings.load()
        for name, meant in unknown(os.environ).items():
            sys.stderr.write(f"{name} sets nothing" + (f"; is {meant} meant?\n" if meant else "\n"))
        # A worker that stumbles over them would be started again and again.
        connect(settings.redis_url)
        folder_of(settings.storage_url)
        address = _address(settings.host, settings.port)
        with meeting_place(settings.workers):
            _serve(settings, address)
    except Failure as failure:
        sys.stderr.write(f"{failure.message}\n")
        return 2
    return 0


def _address(host: str, port: int) -> str:
    """The number of a host, as Granian wants it; one that can be listened on.

    Raises:
        Failure: `setting_invalid`: it is none of this machine, or the port is taken.
    """
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As Granian does, which shares its port with its like.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(found)
            probe.listen(1)
    except OSError as error:
        raise Failure("setting_invalid", f"SAFELIGHT_PORT: {host}:{port}: {error.strerror}") from error
    return str(found[0])


def _serve(settings: Settings, address: str) -> None:
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces, Loops  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    Granian(
        "safelight_api.worker:create",
        factory=True,
        address=address,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.workers,
        respawn_failed_workers=True,
        # Long-polls and streams each hold a place; by default the 1025th would hang without a word.
        backlog=4096,
        backpressure=20_000,
        # The longest way to go, and what requests may still take.
        workers_kill_timeout=int(settings.notice_seconds + settings.goodbye_seconds) + 15,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    sys.exit(main())
