"""SAQ on Redis: 100 at once, BLMOVE. It stores results under keys that last ten minutes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from saq import Queue, Worker
from saq.queue.redis import RedisQueue

from queues import ONE_BY_ONE, Place, Producer, Shift


def _queue(place: Place) -> RedisQueue:
    # Each of its slots holds a connection and waits there for ever; by itself the client has 100, for 5 s.
    redis = Redis.from_url(place.redis_url, max_connections=2 * ONE_BY_ONE, socket_timeout=None)
    return RedisQueue(redis, name="noop")


async def prepare(place: Place) -> None:
    """Nothing."""


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """It has no bulk call."""
    async with produce(_queue(place)) as putting:
        yield putting


@asynccontextmanager
async def produce(queue: Queue) -> AsyncIterator[Producer]:
    """Puts jobs into either kind of queue."""
    await queue.connect()

    async def put(t: str | None) -> None:
        await queue.enqueue("noop", t=t)

    async def put_many(count: int) -> None:
        left = iter(range(count))

        async def some() -> None:
            for _ in left:
                await put(None)

        await asyncio.gather(*(some() for _ in range(16)))

    yield Producer(put, put_many)
    await queue.disconnect()


async def work(shift: Shift) -> None:
    """100 at once."""
    await run(shift, _queue(shift.place))


async def run(shift: Shift, queue: Queue) -> None:
    """A worker of either kind of queue."""

    async def noop(context, *, t: str | None = None) -> None:
        shift.began(t)
        shift.ended()

    await queue.connect()
    worker = Worker(queue, [("noop", noop)], concurrency=ONE_BY_ONE)
    running = asyncio.create_task(worker.start())
    await shift.wait()
    await worker.stop()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await queue.disconnect()
