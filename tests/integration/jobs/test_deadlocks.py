"""Statements that write many rows meet, each with the same rows in another order. None waits in a ring.

Postgres notices a ring after a second, and undoes one of the statements. All lock by key instead, or skip
what is locked.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest

from safelight.jobs.batches import Batches, BatchKey
from safelight.jobs.gates import Gates
from safelight.jobs.job import Beat, Ended, HandedBack, Lease
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Retention, beginning
from safelight.jobs.workers import Workers
from safelight.wire.key import JobKey
from support.jobs import LEASE, WORKER, enqueue, new_job, running, succeeded

BLOCKED = """
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""
PIPELINE = "insert into pipeline (name, version, declaration) values ('noop', '1', '{}')"
EXPIRE = "update ready set lease_expires_at = now() where job_id = $1 and state = 'running'"
Thing = TypeVar("Thing")
Verb = Callable[[], Awaitable[object]]


@pytest.fixture
def address(database: str) -> str:
    """Not by way of PgBouncer, which has too few sessions for statements to meet."""
    return database


def beat(lease: Lease) -> Beat:
    return Beat(fence=lease.fence, progress=1.0, progress_n=1, stage=None, status=None)


def handed_back(lease: Lease) -> HandedBack:
    return HandedBack(fence=lease.fence, progress=0.0)


async def until_blocked(pool: asyncpg.Pool, tasks: Sequence["asyncio.Task[object]"]) -> None:
    """Until each of them waits for a lock, or has ended."""
    while await pool.fetchval(BLOCKED) + sum(task.done() for task in tasks) < len(tasks):
        pass


async def meet(pool: asyncpg.Pool, lock: str, key: object, one: Verb, other: Verb) -> None:
    """Two verbs that want the same rows, while a third has one from the middle of them."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(lock, key)
        tasks: list[asyncio.Task[object]] = []
        for verb in (one, other):
            tasks.append(asyncio.ensure_future(verb()))
            await until_blocked(pool, tasks)
    await asyncio.gather(*tasks)


WRITES: dict[str, Callable[[JobQueue, Sequence[Lease]], Awaitable[object]]] = {
    "heartbeat": lambda queue, leases: queue.heartbeat([beat(lease) for lease in leases], LEASE),
    "complete": lambda queue, leases: queue.complete([succeeded(lease) for lease in leases]),
    "release": lambda queue, leases: queue.release([handed_back(lease) for lease in leases]),
}


@pytest.mark.parametrize("other", WRITES)
@pytest.mark.parametrize("one", WRITES)
async def test_two_writes_of_the_same_runs_in_opposite_orders_do_not_wait_for_each_other(
    queue, pool, one, other
):
    leases = [await running(queue) for _ in range(5)]
    lock = "select from ready where job_id = $1 for update"

    await meet(
        pool,
        lock,
        leases[2].id,
        lambda: WRITES[one](queue, leases),
        lambda: WRITES[other](queue, leases[::-1]),
    )


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("gate", ["tenant", "pipeline"])
async def test_a_limit_that_is_set_meets_writes_of_runs(queue, pool, verb, backwards, gate):
    await pool.execute(PIPELINE)
    leases = [await running(queue) for _ in range(5)]
    gates = Gates(pool, queue)
    limit = gates.limit_tenant if gate == "tenant" else gates.limit_pipeline

    await meet(
        pool,
        "select from ready where job_id = $1 for update",
        leases[2].id,
        lambda: limit("default" if gate == "tenant" else "noop", max_running=100),
        lambda: WRITES[verb](queue, leases[::-1] if backwards else leases),
    )


async def test_batches_that_are_ended_by_two_at_once(queue, pool):
    batches = Batches(pool)
    keys = sorted(BatchKey(1, uuid4()) for _ in range(3))
    for key in keys:
        await batches.create(key, 1)
        await enqueue(queue, batch=key.id)
    await queue.complete([succeeded(lease) for lease in await queue.claim(["noop"], 3, WORKER, LEASE)])

    await meet(
        pool,
        "select from batch where id = $1 for update",
        keys[1].id,
        lambda: batches.end(keys),
        lambda: batches.end(keys[::-1]),
    )


@pytest.mark.parametrize("by", ["id", "idempotency_key"])
async def test_the_same_jobs_submitted_twice_in_opposite_orders(queue, pool, by):
    names = [UUID(int=nth) for nth in (1, 2, 3)]

    def jobs(order: int) -> list:
        if by == "id":
            return [new_job(id=name) for name in names[::order]]
        return [new_job(idempotency_key=str(name)) for name in names[::order]]

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "insert into job (tenant_id, id, pipeline, priority, params, inputs, fingerprint,"
            " idempotency_key, weight, max_attempts, traceparent)"
            " values (1, $1, 'noop', 1, '{}', '[]', '', $2, 1, 1, '')",
            names[1],
            str(names[1]),
        )
        tasks: list[asyncio.Task[object]] = []
        for order in (1, -1):
            tasks.append(asyncio.ensure_future(JobQueue(pool).enqueue_many(jobs(order))))
            await until_blocked(pool, tasks)
    answers = await asyncio.gather(*tasks)

    assert sum(accepted.created for answer in answers for accepted in answer) == 2


async def test_processors_that_come_back_after_a_long_outage_forget_each_other_without_a_ring(pool):
    """All of them have been silent for too long, and each says that it lives."""
    workers = Workers(pool)
    ids = [UUID(int=nth) for nth in range(1, 9)]
    for worker in ids:
        await workers.see(worker, 1, [], {})
    await pool.execute("update worker set seen_at = now() - interval '1 hour'")

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from worker where id = $1 for update", ids[0])
        tasks = [asyncio.ensure_future(workers.see(worker, 1, [], {})) for worker in ids[1:]]
        await until_blocked(pool, tasks)
    await asyncio.gather(*tasks)

    assert {worker.id for worker in await workers.seen()} == set(ids[1:])


DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
ROUNDS = 15
JOBS, BATCHES = 32, 4


class Crowd:
    """Many processes that do everything at once to the same few jobs, each time in another order."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.chance = random.Random(7)
        self.queues = [JobQueue(pool) for _ in range(4)]
        self.gates, self.batches, self.retention = (
            Gates(pool, self.queues[0]),
            Batches(pool),
            Retention(pool),
        )
        self.keys = [BatchKey(1, uuid4()) for _ in range(BATCHES)]
        self.new = [new_job(batch=self.keys[nth % BATCHES].id, max_attempts=100) for nth in range(JOBS)]
        self.leases: Sequence[Lease] = ()

    @property
    def queue(self) -> JobQueue:
        return self.chance.choice(self.queues)

    def mixed(self, things: Sequence[Thing], count: int | None = None) -> Sequence[Thing]:
        return self.chance.sample(things, min(len(things), count or len(things)))

    async def begin(self) -> None:
        await self.pool.execute(
            "insert into pipeline (name, version, declaration) values ('noop', '1', '{}')"
        )
        for key in self.keys:
            await self.batches.create(key, JOBS // BATCHES)

    async def round(self) -> None:
        """Jobs that run, one way or another, and everything that may befall them."""
        await self.queue.enqueue_many(self.new)
        for one in self.new:
            await self.queue.reopen(JobKey(one.tenant, one.id))
        await self.gates.limit_tenant("default")
        await self.gates.limit_pipeline("noop")
        self.leases = await self.queue.claim(["noop"], JOBS, WORKER, LEASE)
        assert self.leases
        await asyncio.gather(*(verb() for verb in self.mixed(self.verbs())))

    def verbs(self) -> Sequence[Verb]:
        own = [lambda verb=verb: verb(self.queue, self.mixed(self.leases, 16)) for verb in WRITES.values()]
        return [
            *own,
            *own,
            lambda: self.queue.enqueue_many(self.mixed(self.new)),
            lambda: self.queue.exchange(self.ends(), ["noop"], 4, WORKER, LEASE),
            lambda: self.each(self.queue.cancel),
            lambda: self.each(self.queue.reopen),
            self.rescue,
            lambda: self.queue.release_strays(WORKER, [lease.fence for lease in self.mixed(self.leases, 8)]),
            lambda: self.batches.end(self.mixed(self.keys)),
            lambda: self.batches.end(self.mixed(self.keys)),
            lambda: self.gates.limit_tenant("default", max_running=10),
            lambda: self.gates.limit_pipeline("noop", max_running=12),
            self.pause,
            self.prune,
        ]

    def ends(self) -> Sequence[Ended]:
        return [succeeded(lease) for lease in self.mixed(self.leases, 16)]

    async def each(self, verb: Callable[[JobKey], Awaitable[object]]) -> None:
        await asyncio.gather(*(verb(lease.key) for lease in self.mixed(self.leases, 4)))

    async def rescue(self) -> None:
        await self.pool.execute(
            "update ready set lease_expires_at = now() where job_id = $1 and state = 'running'",
            self.new[0].id,
        )
        await self.queue.rescue()

    async def pause(self) -> None:
        await self.gates.pause_tenant("default", "ada", "a moment", None)
        await self.gates.resume_tenant("default")

    async def prune(self) -> None:
        await self.retention.prune(beginning(), await self.retention.cutoff(0.0), by_row=True)
        await self.retention.prune_batches(await self.retention.cutoff(3600.0))


async def test_all_verbs_on_the_same_jobs_at_once_end_in_no_deadlock(address):
    """Who is in one hears `unavailable`, a second later. The server counts them, when its sessions end."""
    async with asyncpg.create_pool(address, min_size=20, max_size=20) as pool:
        crowd = Crowd(pool)
        await crowd.begin()
        for _ in range(ROUNDS):
            await crowd.round()
    connection = await asyncpg.connect(address)
    assert await connection.fetchval(DEADLOCKS) == 0
    await connection.close()
