"""PgQueuer: batches of 250, NOTIFY.

It deletes its jobs, logs their status in batches after the run, and stores no result. Batches of 50, 100,
500 and 1000 were slower here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer, Queries

from queues import BULK, CONNECTIONS, SLOTS, Place, Producer, Shift


async def prepare(place: Place) -> None:
    """Its own `install`."""
    connection = await asyncpg.connect(place.dsn)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """On a pool."""
    async with asyncpg.create_pool(place.dsn, min_size=1, max_size=CONNECTIONS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def put(t: str | None) -> None:
            await queries.enqueue("noop", t.encode() if t else None, 0)

        async def put_many(count: int) -> None:
            for at in range(0, count, BULK):
                some = min(BULK, count - at)
                await queries.enqueue(["noop"] * some, [None] * some, [0] * some)

        yield Producer(put, put_many)


async def work(shift: Shift) -> None:
    """One connection, as its quick start has it."""
    connection = await asyncpg.connect(shift.place.dsn)
    worker = PgQueuer.from_asyncpg_connection(connection)

    @worker.entrypoint("noop")
    async def noop(job) -> None:
        shift.began(job.payload.decode() if job.payload else None)
        shift.ended()

    running = asyncio.create_task(worker.run(batch_size=10 if shift.serving else SLOTS))
    await shift.wait()
    worker.shutdown.set()
    await running
    await connection.close()
