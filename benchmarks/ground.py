"""What everybody stands on: one Postgres with full durability and one Redis, for ours and theirs alike."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from safelight.db.migrate import migrate
from safelight_cli.embedded.postgres import Postgres
from safelight_cli.embedded.redis import Redis
from support.ports import free_port
from support.servers import Server, server_folder

TEMPLATE = "safelight_template"
# Room, so that no checkpoint or cache miss falls into one rival's turn; durability is the default: all of it.
ROOM = ("-c", "max_wal_size=4GB", "-c", "shared_buffers=512MB", "-c", "checkpoint_timeout=30min")


class Ground:
    """The two servers, by address and by the pid of their process."""

    def __init__(self, postgres: Postgres, server: Server, redis: Redis, redis_server: Server) -> None:
        self._postgres = postgres
        self._server = server
        self._redis_server = redis_server
        self._numbers = itertools.count(1)
        self.redis_url = redis.url_tcp
        self.redis_port = redis.port or 0

    @property
    def postgres_pid(self) -> int:
        """The postmaster; every backend is a child of it."""
        assert self._server.process is not None
        return self._server.process.pid

    @property
    def redis_pid(self) -> int:
        """The Redis server."""
        assert self._redis_server.process is not None
        return self._redis_server.process.pid

    async def database(self, *, empty: bool = False) -> str:
        """Address of a database that nobody has used yet; migrated unless it is for a rival."""
        name = f"bench_{next(self._numbers)}"
        await self.execute(f"create database {name}" + ("" if empty else f" template {TEMPLATE}"))
        return self._postgres.dsn_tcp(name)

    async def drop(self, dsn: str) -> None:
        """Removes a database."""
        await self.execute(f"drop database if exists {dsn.rpartition('/')[2]} with (force)")

    @asynccontextmanager
    async def fresh(self, *, empty: bool = False) -> AsyncIterator[str]:
        """A database for the time of the block."""
        dsn = await self.database(empty=empty)
        try:
            yield dsn
        finally:
            await self.drop(dsn)

    async def execute(self, statement: str, dsn: str | None = None) -> str:
        """One statement, on a connection of its own; answers its first value as text."""
        connection = await asyncpg.connect(dsn or self._postgres.dsn_tcp("postgres"), timeout=30)
        try:
            return str(await connection.fetchval(statement, timeout=120))
        finally:
            await connection.close(timeout=5)

    async def empty_redis(self) -> None:
        """Forgets everything that is in Redis."""
        await self.tell_redis("FLUSHALL")

    async def tell_redis(self, command: str) -> None:
        """One command, and its answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.redis_port)
        writer.write(f"{command}\r\n".encode())
        await reader.readline()
        writer.close()

    async def prepare(self) -> None:
        """Migrates the database that `database` copies."""
        await self.execute(f"create database {TEMPLATE}")
        await migrate(self._postgres.dsn_tcp(TEMPLATE))

    async def settings(self) -> str:
        """The version and what durability is set to, read from the server itself."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
        return ", ".join([f"{name} {await self.execute(f'show {name}')}" for name in names])


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """Both servers, started; stopped and removed at the end."""
    with server_folder(ram=False) as folder:  # a commit has to reach a disk
        postgres = Postgres(folder / "postgres", durable=True, port=free_port())
        postgres.prepare()
        part = postgres.part()
        server = Server(replace(part, argv=(*part.argv, *ROOM)), folder / "postgres.log")
        redis = Redis(folder / "redis", port=free_port())
        redis_server = Server(redis.part(), folder / "redis.log")
        try:
            server.start()
            redis_server.start()
            here = Ground(postgres, server, redis, redis_server)
            await here.prepare()
            yield here
        finally:
            redis_server.kill()
            server.kill()
            redis.close()
            postgres.close()
