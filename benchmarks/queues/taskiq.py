"""taskiq with the stream broker of taskiq-redis, 100 at once.

It acknowledges after the run (its other brokers for Redis never do) and stores no result.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from queues import ONE_BY_ONE, Place, Producer, Shift


async def prepare(place: Place) -> None:
    """The producer makes the group."""


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """One XADD a job; it has no bulk call."""
    broker = RedisStreamBroker(place.redis_url)

    @broker.task("noop")
    async def noop(t: str | None = None) -> None:
        """Runs elsewhere."""

    await broker.startup()

    async def put(t: str | None) -> None:
        await noop.kiq(t)

    async def put_many(count: int) -> None:
        left = iter(range(count))

        async def some() -> None:
            for _ in left:
                await put(None)

        await asyncio.gather(*(some() for _ in range(16)))

    yield Producer(put, put_many)
    await broker.shutdown()


async def work(shift: Shift) -> None:
    """100 at once."""
    broker = RedisStreamBroker(shift.place.redis_url)

    @broker.task("noop")
    async def noop(t: str | None = None) -> None:
        shift.began(t)
        shift.ended()

    running = asyncio.create_task(
        run_receiver_task(broker, max_async_tasks=ONE_BY_ONE, validate_params=False, run_startup=True)
    )
    await shift.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
