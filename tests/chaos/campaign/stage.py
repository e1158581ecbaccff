"""Everything that faults happen to: two servers, a database, workers, clients, and who watches them.

`campaign` opens it; `faults` do their work on it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.campaign.crew import Crew
from chaos.campaign.ledger import Ledger
from chaos.campaign.plan import Plan
from chaos.campaign.producer import Producer, producing
from chaos.campaign.watch import Watch, watching
from safelight.config import Settings
from safelight.db.migrate import migrate
from safelight.jobs.job import NewJob
from support.answer_loss import AnswerLossProxy, answer_loss_proxy
from support.processes import Process, processor_process
from support.servers import PostgresServer, RedisServer, server_folder

_LIMIT = Settings().server_limit


@dataclass(frozen=True, kw_only=True)
class Stage:
    """By name, what there is."""

    plan: Plan
    postgres: PostgresServer
    redis: RedisServer
    name: str  # of the database
    folder: Path
    crew: Crew
    producers: Sequence[tuple[Producer, asyncio.Task[None]]]
    proxy: AnswerLossProxy  # on the way of the last worker, and of some clients
    real: Process  # a processor with sandbox and store, which has nothing to do until the disk is full
    watch: Watch

    @property
    def database(self) -> str:
        """Its address, over the Unix socket."""
        return self.postgres.dsn(self.name)

    async def submit(self, job: NewJob) -> None:
        """One job more, until it is acknowledged."""
        await self.producers[0][0].submit(job)

    async def close(self, seconds: float) -> bool:
        """No more is submitted, all is worked off, everybody leaves; whether there was an end to it."""
        for producer, _ in self.producers:
            producer.stop()
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(answered for _, answered in self.producers))
        emptied = await self.watch.until_empty(seconds)
        await self.crew.stop(self.real)
        return emptied

    @property
    def store(self) -> Path:
        """Of the images."""
        return self.folder / "store"


@asynccontextmanager
async def open_stage(plan: Plan, postgres: PostgresServer, redis: RedisServer) -> AsyncIterator[Stage]:
    """All of it, working; at the end of the block what still lives is killed and the database is gone."""
    # What it commits is there after a crash, and sessions have the time limits of a deployment.
    name = await postgres.create(empty=True, lasting=plan.durable)
    database = postgres.dsn(name)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_drop, postgres, name)
        await migrate(database, _LIMIT)
        folder = stack.enter_context(server_folder())
        ledger = Ledger(folder)
        stack.callback(ledger.close)
        proxy = await stack.enter_async_context(answer_loss_proxy(postgres.port))
        far = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        common = _common(plan, folder)
        settings = common | {"database_url": database, "redis_url": redis.url, "slots": plan.slots}
        crew = Crew(plan.workers, folder, settings, {"database_url": far})
        stack.callback(crew.kill)
        quiet = common | {"log_level": "error"}  # its log stays smaller than what the full disk takes
        real = await stack.enter_async_context(
            processor_process(database, redis.url, slots=1, pipelines="transform", **quiet)
        )
        await crew.until_ready()
        supervising = asyncio.create_task(crew.supervise())
        stack.callback(supervising.cancel)
        watch = await stack.enter_async_context(watching(database, plan.waiting))
        producers = [
            await stack.enter_async_context(producing(address, ledger, watch.room, callers, plan.job))
            for address, callers in ((database, plan.callers), (far, plan.far))
        ]
        yield Stage(
            plan=plan,
            postgres=postgres,
            redis=redis,
            name=name,
            folder=folder,
            crew=crew,
            producers=producers,
            watch=watch,
            proxy=proxy,
            real=real,
        )


async def _drop(postgres: PostgresServer, name: str) -> None:
    postgres.start()
    await postgres.drop(name)


def _common(plan: Plan, folder: Path) -> dict[str, Any]:
    """Settings of the workers and of the real processor."""
    return {
        "lease_seconds": plan.lease,
        "heartbeat_seconds": plan.lease / 3,
        "poll_seconds": 0.5,
        "retry_seconds": 0.1,
        "database_timeout": 5,
        "storage_url": f"file://{folder}/store",
        "scratch": folder / "scratch",
        "log_level": "warning",
    }
