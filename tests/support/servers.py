"""The servers that tests run on: a real Postgres and a real Redis, one of each per pytest worker.

The fixtures over them are in tests/conftest.py. Both run without durability, and die with pytest. Where a
test ends Postgres itself, its database commits as a real one does (`create(lasting=True)`, tests/chaos).
"""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil

from safelight.db.migrate import migrate
from safelight_cli.embedded import part as parts
from safelight_cli.embedded.part import Part
from safelight_cli.embedded.postgres import Postgres
from safelight_cli.embedded.redis import Redis
from support.ports import free_port

TEMPLATE = "safelight_template"
RAM = Path("/dev/shm")
ROOM = 4 * 1024**3


class Server:
    """A part that a test may stop, kill, pause and start again."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        if self.process is None or self.process.poll() is not None:
            with self.log.open("ab") as log:
                self.process = parts.start(self.part, log)

    def stop(self) -> None:
        """Stops it in order."""
        if self.process is not None:
            parts.stop(self.part, self.process)

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self.process is not None:
            parts.kill(self.process)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and answers nobody, for as long as the block lasts."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class PostgresServer(Server):
    """Postgres with a migrated template database, from which every test gets a copy."""

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres(folder / "postgres", durable=False, port=free_port())
        self.postgres.prepare()
        self._numbers = itertools.count(1)
        super().__init__(self.postgres.part(), folder / "postgres.log")

    def kill(self) -> None:
        """Ends it as a crash does; back when its backends have noticed: before that it cannot start again."""
        alive = self.process is not None and self.process.poll() is None
        backends = psutil.Process(self.process.pid).children() if self.process and alive else []
        super().kill()
        psutil.wait_procs(backends, timeout=30)

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1, for proxies. User `postgres`, no password."""
        assert self.postgres.port is not None
        return self.postgres.port

    def dsn(self, database: str = "postgres") -> str:
        """Address of a database over the Unix socket."""
        return self.postgres.dsn(database)

    def dsn_tcp(self, database: str = "postgres") -> str:
        """Address of a database over TCP."""
        return self.postgres.dsn_tcp(database)

    def binary(self, name: str) -> str:
        """Path of `psql`, `pg_dump` and their like, of the same version as the server."""
        return str(self.postgres.binary(name))

    async def make_template(self) -> None:
        """Migrates the database that `create` copies."""
        await self._execute(f"create database {TEMPLATE}")
        await migrate(self.dsn(TEMPLATE))

    async def create(self, *, empty: bool = False, lasting: bool = False) -> str:
        """A new database, migrated unless `empty`; answers its name.

        What is committed in a `lasting` one is there after the server was killed, as with `safelight up`: the
        others may lose the last moments.
        """
        name = f"test_{next(self._numbers)}"
        template = "template1" if empty else TEMPLATE
        # Twice as fast as through the log, as nothing here outlives the tests.
        await self._execute(f"create database {name} template {template} strategy file_copy")
        if lasting:
            await self._execute(f"alter database {name} set synchronous_commit = on")
        return name

    async def rename(self, name: str, new: str) -> None:
        """Gives a database that nobody uses another name."""
        await self._execute(f"alter database {name} rename to {new}")

    async def drop(self, name: str) -> None:
        """Removes a database, also while somebody is still connected to it."""
        await self._execute(f"drop database if exists {name} with (force)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn(), timeout=30)
        try:
            await connection.execute(statement, timeout=60)
        finally:
            await connection.close(timeout=5)


class RedisServer(Server):
    """Redis, emptied for every test that asks for it."""

    def __init__(self, folder: Path) -> None:
        self.redis = Redis(folder / "redis", port=free_port())
        super().__init__(self.redis.part(), folder / "redis.log")

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        assert self.redis.port is not None
        return self.redis.port

    @property
    def url(self) -> str:
        """Its address over TCP."""
        return self.redis.url_tcp


@contextmanager
def server_folder(*, ram: bool = True) -> Iterator[Path]:
    """A folder with a short path that any user may enter, as Postgres runs as `nobody` under root."""
    # Every test has a database, which is hundreds of files; on a RAM disk they cost next to nothing.
    roomy = ram and RAM.is_dir() and os.access(RAM, os.W_OK) and shutil.disk_usage(RAM).free > ROOM
    folder = Path(tempfile.mkdtemp(prefix="safelight-test-", dir=RAM if roomy else "/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres of one's own, started, its template migrated."""
    with server_folder() as folder:
        server = PostgresServer(folder)
        server.start()
        try:
            asyncio.run(server.make_template())
            yield server
        finally:
            server.stop()  # killed, it would leave its shared memory on the RAM disk, for ever
            server.postgres.close()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A Redis of one's own, started."""
    with server_folder() as folder:
        server = RedisServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
            server.redis.close()
