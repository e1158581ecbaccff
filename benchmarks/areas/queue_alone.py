"""The queue against itself: a million finished jobs, an old snapshot, many tenants, a flood.

Every figure is a ratio to the same measurement without that, in turns. Part of areas/queue.py.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import queues
import stage
from ground import Ground
from measure import Area, Figure, Numbers, Plan, Table, rounds

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.queue import JobQueue
from support.jobs import new_job

DRAINED = 60_000
FINISHED = 1_000_000
TENANTS, PRIORITIES, PIPELINES = 10, 3, 2
FLOOD = 100_000
NAMES = {
    "free": "one tenant, one pipeline, empty tables",
    "finished": "with 1,000,000 finished jobs",
    "snapshot": "with a snapshot held open since before the queue was filled",
    "mixed": "10 tenants x 3 priorities x 2 pipelines, mixed",
}
_CLUTTER = """
with made as (
  insert into job (tenant_id, id, pipeline, priority, params, inputs, fingerprint, max_attempts,
                   traceparent, weight)
  select 1, uuidv7(), 'noop', 1, '{{}}', '[]', 'same', 3, '', 1
  from generate_series(1, {count})
  returning id
)
insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch,
                  opened_at, claimed_at, started_at, progress, result)
select 1, id, 'noop', 1, 3, 'succeeded', 'completed', 1, 1, now(), now(), now(), 100, '{{"ok":true}}'
from made
"""


async def measure(area: Area, ground: Ground, plan: Plan) -> None:
    """Tables and figures, for the area of the queue."""
    await _drain(area, ground, plan)
    await _flood(area, ground, plan)


# ---- draining


async def _drain(area: Area, ground: Ground, plan: Plan) -> None:
    count = plan.count(DRAINED)
    async with stage.place(ground, "safelight") as cluttered:
        await ground.execute(_CLUTTER.format(count=plan.count(FINISHED)), cluttered.dsn)
        await ground.execute("vacuum analyze", cluttered.dsn)
        cases = {
            "free": partial(_free, ground, count),
            "finished": partial(_refilled, ground, cluttered, count),
            "snapshot": partial(_beside_a_snapshot, ground, count),
            "mixed": partial(_mixed, ground, count),
        }
        found = await rounds(cases, plan.rounds)
    area.tables.append(
        Table(
            f"Ours alone: draining {count:,} jobs with one process",
            ("queue", "jobs/s", "CPU us/job worker", "CPU us/job servers", "spread"),
            [
                (
                    NAMES[name],
                    f"{one['rate']:,.0f}",
                    f"{one['worker']:,.0f}",
                    f"{one['servers']:,.0f}",
                    f"{one['spread']:.2f}",
                )
                for name, one in found.items()
            ],
        )
    )
    free = found["free"]["rate"]
    area.figures += [
        Figure("queue-drain-rate-beside-a-million-done", found["finished"]["rate"], free, "free", 0.85),
        Figure("queue-drain-rate-beside-a-snapshot", found["snapshot"]["rate"], free, "free", 0.8),
        Figure("queue-drain-rate-mixed-tenants", found["mixed"]["rate"], free, "plain", 0.8),
    ]


async def _free(ground: Ground, count: int) -> Numbers:
    async with stage.place(ground, "safelight", count) as here:
        return await stage.drain(ground, "safelight", here, count)


async def _refilled(ground: Ground, here: queues.Place, count: int) -> Numbers:
    async with queues.load("safelight").producer(here) as producer:
        await producer.put_many(count)
    await ground.execute("vacuum analyze", here.dsn)
    return await stage.drain(ground, "safelight", here, count)


async def _beside_a_snapshot(ground: Ground, count: int) -> Numbers:
    async with stage.place(ground, "safelight") as here, _snapshot(here):
        return await _refilled(ground, here, count)


@asynccontextmanager
async def _snapshot(here: queues.Place) -> AsyncIterator[None]:
    """As a long report or a dump has it: idle in a transaction that has read the tables."""
    connection = await asyncpg.connect(here.dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("select count(*) from job; select count(*) from ready")
            yield
    finally:
        await connection.close()


async def _mixed(ground: Ground, count: int) -> Numbers:
    chance = random.Random(1)
    pipelines = [f"noop{number}" for number in range(PIPELINES)]
    async with stage.place(ground, "safelight") as here:
        async with open_pool(Settings(database_url=here.dsn)) as pool:
            queue = JobQueue(pool)
            for at in range(0, count, queues.BULK):
                await queue.enqueue_many(
                    [
                        new_job(
                            tenant=chance.randint(1, TENANTS),
                            priority=chance.randint(1, PRIORITIES),
                            pipeline=chance.choice(pipelines),
                        )
                        for _ in range(min(queues.BULK, count - at))
                    ]
                )
        await ground.execute("vacuum analyze", here.dsn)
        return await stage.drain(ground, "safelight", here, count, options={"pipelines": pipelines})


# ---- one tenant floods, another waits


async def _flood(area: Area, ground: Ground, plan: Plan) -> None:
    seconds = 20.0 * plan.scale
    cases = {
        "idle": partial(_waiting, ground, seconds, 0),
        "flooded": partial(_waiting, ground, seconds, plan.count(FLOOD)),
    }
    found = await rounds(cases, 1)
    area.tables.append(
        Table(
            "Ours alone: what a tenant with 5 jobs/s waits, ms; 4 slots, handlers of 4 ms",
            ("beside it", "p50", "p95", "p99"),
            [
                (
                    "nobody" if name == "idle" else f"a tenant with {plan.count(FLOOD):,} jobs waiting",
                    *(f"{one[share]:.2f}" for share in ("p50", "p95", "p99")),
                )
                for name, one in found.items()
            ],
        )
    )
    area.figures.append(
        Figure(
            "queue-wait-p95-beside-a-flood",
            found["flooded"]["p95"],
            found["idle"]["p95"],
            "idle",
            3.0,
            "less",
        )
    )


async def _waiting(ground: Ground, seconds: float, flood: int) -> Numbers:
    async with stage.place(ground, "safelight", flood) as here:
        await asyncio.sleep(0.5)
        return await stage.serve(
            ground,
            "safelight",
            here,
            seconds,
            5.0,
            options={"slots": 4, "seconds": 0.004},
            tenant=2,
        )
