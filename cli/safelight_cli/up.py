"""`safelight up`: the whole service on one machine, with real servers and nothing to install by hand.

It starts Postgres, Redis, the API and a processor, looks after them (`embedded.supervisor`), and stops
them in order when it is told to. Everything it keeps is in one folder, and is durable.
"""

import argparse
import asyncio
import dataclasses
import fcntl
import http.client
import ipaddress
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from safelight.config import Settings
from safelight.db.migrate import migrate
from safelight_cli.embedded.part import CannotStartError, Part
from safelight_cli.embedded.postgres import Postgres
from safelight_cli.embedded.redis import Redis
from safelight_cli.embedded.supervisor import ServiceDownError, Supervisor

_OURS = ("SAFELIGHT_DATABASE_URL", "SAFELIGHT_REDIS_URL", "SAFELIGHT_STORAGE_URL")
_DEFAULTS = {
    # Only here: a laptop is not asked for keys, so it must not be reachable from elsewhere either.
    "SAFELIGHT_AUTH": "off",
    "SAFELIGHT_WORKERS": "2",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `up` to the command line."""
    parser = commands.add_parser("up", help="run the whole service on this machine", description=__doc__)
    parser.add_argument("--data", metavar="FOLDER", help="where everything is kept (SAFELIGHT_DATA, ./data)")
    parser.add_argument("--host", help="address to listen on (SAFELIGHT_HOST, 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (SAFELIGHT_PORT, 8080)")
    parser.add_argument("--workers", help="API processes (SAFELIGHT_WORKERS, 2)")
    parser.add_argument("--slots", help="jobs at once (SAFELIGHT_SLOTS, one per core)")
    parser.add_argument(
        "--insecure", action="store_true", help="listen for other machines although nobody is asked for a key"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the service until it is told to stop.

    Raises:
        CannotStartError: something a person has to change first.
        Failure: `setting_invalid`.
    """
    chosen = {
        f"SAFELIGHT_{name.upper()}": value
        for name in ("host", "port", "workers", "slots")
        if (value := getattr(arguments, name)) is not None
    }
    given = {**_DEFAULTS, **os.environ, **chosen}
    settings = Settings.load(given)
    _refuse_strangers(settings, insecure=arguments.insecure)
    for name in _OURS:
        if name in os.environ:
            _complain(f"{name} is not used here: `safelight up` brings its own.")
    data = Path(arguments.data or os.environ.get("SAFELIGHT_DATA") or "data").absolute()
    try:
        with _owned(data):
            _refuse_taken_ports(settings, given)
            return asyncio.run(_serve(Service(data, settings, given)))
    except OSError as error:
        raise CannotStartError(f"{error.filename or data}: {error.strerror or error}.") from error


class Service:
    """Which parts there are, with which settings."""

    def __init__(self, data: Path, settings: Settings, given: Mapping[str, str]) -> None:
        self.data = data
        self.postgres = Postgres(data / "postgres")
        self.redis = Redis(data / "redis")
        self.settings = settings
        self._health_port = _chosen_health_port(given) or free_port()
        # What a role that was killed left lying about goes at the next start.
        shutil.rmtree(data / "tmp", ignore_errors=True)
        (data / "tmp").mkdir()
        self._environment = {
            **given,
            "TMPDIR": str(data / "tmp"),
            "SAFELIGHT_DATABASE_URL": self.postgres.dsn(),
            "SAFELIGHT_REDIS_URL": self.redis.url,
            "SAFELIGHT_STORAGE_URL": f"file://{quote(str(data / 'images'))}",
            "SAFELIGHT_HEALTH_PORT": str(self._health_port),
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def url(self) -> str:
        """Where the API and the page are."""
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    def api(self, name: str = "api", port: int | None = None) -> Part:
        """The API; its master process looks after its workers. A second one has another name and port."""
        port = port or self.settings.port
        ready = _answers(_own_address(self.settings.host), port)
        part = self._role(
            "api", ready, patience=self.settings.notice_seconds + self.settings.goodbye_seconds + 20.0
        )
        return dataclasses.replace(part, name=name, env={**part.env, "SAFELIGHT_PORT": str(port)})

    def processor(self) -> Part:
        """The processor; it may finish its jobs before it ends."""
        ready = _answers(_own_address(self.settings.host), self._health_port)
        return self._role("processor", ready, patience=self.settings.drain_seconds + 10.0)

    def pillow(self) -> str:
        """Which Pillow the processor has; `unknown` when it does not say."""
        host = _own_address(self.settings.host)
        connection = http.client.HTTPConnection(host, self._health_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            text = ""
        finally:
            connection.close()
        found = re.search(r'^safelight_build_info\{.*pillow="([^"]+)"', text, re.MULTILINE)
        return found[1] if found else "unknown"

    def write_addresses(self) -> None:
        """`data/env`, for commands that talk to the database: `set -a; . data/env`."""
        lines = [f"{name}='{self._environment[name]}'\n" for name in _OURS]
        file = self.data / "env"
        file.touch(mode=0o600)
        file.write_text("".join(lines))

    def close(self) -> None:
        """Removes what is outside the data folder."""
        self.postgres.close()
        self.redis.close()

    def _role(self, name: str, ready: Callable[[], bool], patience: float) -> Part:
        argv = (sys.executable, "-m", f"safelight_{name}")
        return Part(name=name, argv=argv, ready=ready, env=self._environment, patience=patience)


async def _serve(service: Service) -> int:
    supervisor = Supervisor(service.data / "logs", _say)
    stop_on_signals(supervisor)
    try:
        async with supervisor:
            await start(service, supervisor)
            _print(f"ready      {service.url}")
            await supervisor.watch()
    except asyncio.CancelledError:
        _print("stopped")
        return 0
    except ServiceDownError as error:
        _complain(f"safelight: the service is down: {error}")
    finally:
        service.close()
    return 1


async def start(service: Service, supervisor: Supervisor) -> None:
    """Starts every part, in order, each after those it needs are ready."""
    service.postgres.prepare()
    await supervisor.start(service.postgres.part())
    await supervisor.start(service.redis.part())
    for applied in await migrate(service.postgres.dsn(), service.settings.server_limit):
        _say("migrate", applied)
    service.write_addresses()
    await asyncio.gather(supervisor.start(service.api()), supervisor.start(service.processor()))
    _say("processor", f"decodes with {await asyncio.to_thread(service.pillow)}")


def stop_on_signals(supervisor: Supervisor) -> None:
    """The first signal stops everything in order, the second hurries."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked: list[int] = []

    def stop(number: int) -> None:
        asked.append(number)
        if len(asked) == 1:
            _print("stopping, in order (once more to hurry)")
            assert task is not None
            task.cancel()
        else:
            supervisor.hurry()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)


@contextmanager
def _owned(data: Path) -> Iterator[None]:
    """The data folder, made if it is not there, for one `up` at a time."""
    (data / "logs").mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise CannotStartError(f"{data} is in use by another `safelight up` ({owner}).") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


def _refuse_strangers(settings: Settings, *, insecure: bool) -> None:
    if settings.auth != "off" or insecure:
        return
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotStartError(f"{settings.host} is no address to listen on: {error.strerror}.") from None
    if not all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found):
        raise CannotStartError(
            f"{settings.host} can be reached from other machines and nobody is asked for a key: "
            "set SAFELIGHT_AUTH=keys, or say --insecure."
        )


def _chosen_health_port(given: Mapping[str, str]) -> int:
    """The processor's port, or 0 where any will do: only here it need not be known beforehand."""
    return int(given.get("SAFELIGHT_HEALTH_PORT") or 0)


def _refuse_taken_ports(settings: Settings, given: Mapping[str, str]) -> None:
    """Asks before Granian does: it shares a port silently with another Granian."""
    health = _chosen_health_port(given)
    if health == settings.port:
        raise CannotStartError(f"SAFELIGHT_HEALTH_PORT and SAFELIGHT_PORT are both {health}.")
    _refuse_taken_port(settings.host, settings.port, "name another with --port")
    if health:
        _refuse_taken_port(settings.host, health, "set another SAFELIGHT_HEALTH_PORT, or none")


def _refuse_taken_port(host: str, port: int, instead: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # Connections of an earlier run that still linger are no obstacle; a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            reason = error.strerror.lower() if error.strerror else str(error)
            raise CannotStartError(f"Port {port} of {host}: {reason}; {instead}.") from None


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _own_address(host: str) -> str:
    """Where this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _answers(host: str, port: int) -> Callable[[], bool]:
    """The question whether /readyz answers 200."""

    def ready() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ready


def _say(part: str, text: str) -> None:
    _print(f"{part:<10} {text}")


def _print(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
