"""Real processes of the service on free ports: start, wait until ready, kill, pause, read the log.

    async with api_process(database, redis_url, workers=2) as api:
        ...  api.url

Settings are keywords: `lease_seconds=1` is SAFELIGHT_LEASE_SECONDS=1. When a test fails, the ends of the
logs of all processes it started are printed with it.
"""

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from safelight_cli.embedded.part import dies_with_parent
from support.ports import free_port

_TESTS = Path(__file__).parent.parent
_SHOWN = 8_000  # characters of a log that go with a failed test

started: list["Process"] = []  # by the test that runs; tests/conftest.py reads and empties it


class Process:
    """A process of its own session, and the log of what it and its children say."""

    def __init__(
        self,
        name: str,
        argv: Iterable[str],
        env: Mapping[str, str],
        port: int = 0,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self._log = tempfile.TemporaryFile(prefix=f"safelight-{name}-")  # noqa: SIM115  lives as long as this
        # What it leaves lying about when it is killed goes with it.
        self._folder = tempfile.TemporaryDirectory(prefix=f"safelight-{name}-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            list(argv),
            env={**env, "TMPDIR": self._folder.name},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            user=user,
            preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509  it calls nothing but the kernel
        )
        started.append(self)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process itself; its group has the same number."""
        return self.process.pid

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def sigterm(self) -> None:
        """Asks it to stop; `wait` for the end."""
        self.process.terminate()

    def kill(self) -> None:
        """Ends it and all it started, as the end of a machine would."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._folder.cleanup()

    def sigstop(self) -> None:
        """Freezes it and all it started."""
        os.killpg(self.pid, signal.SIGSTOP)

    def sigcont(self) -> None:
        """Thaws it."""
        os.killpg(self.pid, signal.SIGCONT)

    async def wait(self, seconds: float = 60.0) -> int:
        """Its exit code, when it has ended."""
        return await asyncio.to_thread(self.process.wait, seconds)

    async def stop(self, seconds: float = 60.0) -> int:
        """Asks it to stop and waits for its end; answers its exit code."""
        self.sigterm()
        return await self.wait(seconds)

    def logs(self) -> str:
        """All that was said so far."""
        # With an offset, as the position of the file is shared with the process that writes.
        return os.pread(self._log.fileno(), 16 * 1024 * 1024, 0).decode("utf-8", "replace")

    async def until(self, is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Waits until the condition holds; fails when the process ends before, or after `seconds`."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + seconds
        while not await asyncio.to_thread(is_so):
            assert self.is_alive(), f"{self.name} ended with {self.process.returncode}:\n{self.logs()}"
            assert loop.time() < give_up, f"{self.name}: {what} took more than {seconds} s:\n{self.logs()}"
            await asyncio.sleep(0.02)

    async def until_ready(self) -> None:
        """Waits until /readyz answers 200."""
        await self.until(self.is_ready, "getting ready")

    def is_ready(self) -> bool:
        """Whether /readyz answers 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def environment(database: str, redis_url: str, **settings: object) -> dict[str, str]:
    """Of a role: only what is given here, whatever the machine has set. Nobody is asked for a key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    settings = {"auth": "off", "storage_url": "postgres:", "log_level": "debug", **settings}
    given = {f"SAFELIGHT_{name.upper()}": str(value) for name, value in settings.items()}
    addresses = {"SAFELIGHT_DATABASE_URL": database, "SAFELIGHT_REDIS_URL": redis_url}
    return {**kept, **addresses, **given, "PYTHONPATH": str(_TESTS), "PYTHONUNBUFFERED": "1"}


@asynccontextmanager
async def process(
    name: str, argv: Iterable[str], env: Mapping[str, str], port: int = 0
) -> AsyncIterator[Process]:
    """Any process; what is left of it at the end of the block is killed."""
    running = Process(name, argv, env, port)
    try:
        yield running
    finally:
        running.kill()


@asynccontextmanager
async def api_process(
    database: str, redis_url: str, *, ready: bool = True, python: str = sys.executable, **settings: object
) -> AsyncIterator[Process]:
    """An API pod on a free port, ready to serve."""
    port = int(str(settings.pop("port", 0))) or free_port()
    env = environment(database, redis_url, port=port, **settings)
    async with process("api", [python, "-m", "safelight_api"], env, port) as api:
        if ready:
            await api.until_ready()
        yield api


@asynccontextmanager
async def processor_process(
    database: str,
    redis_url: str,
    *,
    modules: str = "",
    ready: bool = True,
    python: str = sys.executable,
    **settings: object,
) -> AsyncIterator[Process]:
    """A processor, ready to claim. `modules` names pipelines of tests: `support.slow:slow`."""
    port = int(str(settings.pop("health_port", 0))) or free_port()
    settings = {"slots": 2, "pipeline_modules": modules, **settings}
    env = environment(database, redis_url, health_port=port, **settings)
    async with process("processor", [python, "-m", "safelight_processor"], env, port) as processor:
        if ready:
            await processor.until_ready()
        yield processor


def report() -> list[tuple[str, str]]:
    """A title and the end of the log of every process that the test started."""
    return [(f"log of {one.name} ({one.pid})", one.logs()[-_SHOWN:]) for one in started]
