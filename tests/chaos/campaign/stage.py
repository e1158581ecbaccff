"""Everything that faults happen to: the two servers, a database, the workers, the clients, and who watches
them.

`campaign` opens it; `faults` do their work on it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.campaign.crew import Crew
from chaos.campaign.ledger import Ledger
from chaos.campaign.machine import Machine
from chaos.campaign.plan import Plan
from chaos.campaign.producer import Producer, producing
from chaos.campaign.watch import Watch, watching
from safelight.config import Settings
from safelight.db.migrate import migrate
from support.servers import PostgresServer, RedisServer, server_folder

_LIMIT = Settings().server_limit


@dataclass(frozen=True)
class Stage:
    """By name, what there is."""

    plan: Plan
    postgres: PostgresServer
    redis: RedisServer
    name: str  # of the database
    folder: Path
    ledger: Ledger
    crew: Crew
    producer: Producer
    watch: Watch

    @property
    def database(self) -> str:
        """Its address, over the Unix socket."""
        return self.postgres.dsn(self.name)

    def through(self, port: int) -> str:
        """Its address behind a proxy."""
        return f"postgresql://postgres@127.0.0.1:{port}/{self.name}"


@asynccontextmanager
async def open_stage(plan: Plan, postgres: PostgresServer, redis: RedisServer) -> AsyncIterator[Stage]:
    """All of it, working; at the end of the block what still lives is killed and the database is gone."""
    # What it commits is there after a crash, and sessions have the time limits of a deployment.
    name = await postgres.create(empty=True, lasting=True)
    database = postgres.dsn(name)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_drop, postgres, name)
        await migrate(database, _LIMIT)
        folder = stack.enter_context(server_folder())
        ledger = Ledger(folder)
        stack.callback(ledger.close)
        crew = Crew(plan.workers, folder, _settings(plan, database, redis.url, folder))
        stack.callback(crew.kill)
        await crew.until_ready()
        supervising = asyncio.create_task(crew.supervise())
        stack.callback(supervising.cancel)
        watch = await stack.enter_async_context(watching(database, Machine(), plan.waiting))
        producer = await stack.enter_async_context(producing(database, ledger, watch.room, plan.callers))
        yield Stage(plan, postgres, redis, name, folder, ledger, crew, producer, watch)


async def _drop(postgres: PostgresServer, name: str) -> None:
    postgres.start()
    await postgres.drop(name)


def _settings(plan: Plan, database: str, redis_url: str, folder: Path) -> dict[str, object]:
    """Of a worker."""
    return {
        "database_url": database,
        "redis_url": redis_url,
        "slots": plan.slots,
        "lease_seconds": plan.lease,
        "heartbeat_seconds": plan.lease / 3,
        "poll_seconds": 0.5,
        "database_timeout": 5,
        "scratch": folder / "scratch",
        "log_level": "warning",
    }
