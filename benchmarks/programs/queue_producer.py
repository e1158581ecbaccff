"""A producer of one queue: `queue_producer.py KIND burst|pace DSN COUNT CALLERS [REDIS_URL]`.

Called by areas/queue.py. `burst`: so many callers, each with one job after the other, one durable call
a job. `pace`: one job every 20 ms, which carries the time of the call. Schemas are made by `prepare`.
"""

# ruff: noqa: PLC0415  each kind imports only what it needs, so that none pays for the others

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import uvloop

PACE = 0.02  # seconds between two jobs: 50 a second
CONNECTIONS = 16

Put = Callable[[str | None], Awaitable[object]]


@asynccontextmanager
async def safelight(dsn: str, redis_url: str) -> AsyncIterator[Put]:
    """As the API does it: the row is committed, then the processors are woken by a coalesced publish."""
    from safelight.config import Settings
    from safelight.db.pool import open_pool
    from safelight.jobs.queue import JobQueue
    from safelight.progress.announcer import Announcer
    from safelight.progress.stream import Stream, connect
    from support.jobs import new_job

    redis = connect(redis_url)
    async with open_pool(Settings(database_url=dsn, database_pool=CONNECTIONS)) as pool:
        queue, announcer = JobQueue(pool), Announcer(Stream(redis))
        telling = asyncio.create_task(announcer.run())

        async def put(t: str | None) -> None:
            await queue.enqueue(new_job(params=json.dumps({"t": t} if t else {})))
            announcer.wake()

        yield put
        telling.cancel()
    await redis.aclose()


@asynccontextmanager
async def pgqueuer(dsn: str, redis_url: str) -> AsyncIterator[Put]:
    """PgQueuer on a pool."""
    from pgqueuer import AsyncpgPoolDriver, Queries

    async with asyncpg.create_pool(dsn, min_size=1, max_size=CONNECTIONS) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def put(t: str | None) -> object:
            return await queries.enqueue("noop", t.encode() if t else None, 0)

        yield put


@asynccontextmanager
async def procrastinate(dsn: str, redis_url: str) -> AsyncIterator[Put]:
    """Procrastinate on a pool."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=CONNECTIONS))

    @app.task(name="noop")
    async def noop(t: str | None = None) -> None:
        """Runs elsewhere."""

    async with app.open_async():

        async def put(t: str | None) -> object:
            return await noop.defer_async(t=t)

        yield put


async def burst(put: Put, count: int, callers: int) -> dict[str, float]:
    """Jobs per second of so many callers."""
    for _ in range(callers):
        await put(None)  # connections are open, statements are prepared
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await put(None)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return {"rate": count / (time.perf_counter() - began), "cpu": time.process_time()}


async def pace(put: Put, count: int) -> dict[str, float]:
    """One job every 20 ms, whatever the one before does."""
    loop = asyncio.get_running_loop()
    began, calls = loop.time(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number * PACE - loop.time()))
        calls.append(asyncio.create_task(_call(put)))
    await asyncio.gather(*calls)
    return {"rate": count / (loop.time() - began)}


async def _call(put: Put) -> None:
    await put(str(time.monotonic_ns()))


async def main() -> None:
    """Produces, and prints how fast."""
    kind, mode, dsn, count, callers = (
        sys.argv[1],
        sys.argv[2],
        sys.argv[3],
        int(sys.argv[4]),
        int(sys.argv[5]),
    )
    redis_url = sys.argv[6] if len(sys.argv) > 6 else ""
    opened = {"safelight": safelight, "pgqueuer": pgqueuer, "procrastinate": procrastinate}[kind]
    async with opened(dsn, redis_url) as put:
        told = await (burst(put, count, callers) if mode == "burst" else pace(put, count))
        print("result", json.dumps(told))


if __name__ == "__main__":
    uvloop.run(main())
