"""dramatiq on Redis, eight threads, which is its default. It acknowledges after the run and stores no result.

Its calls block, so that callers of one process take turns; with a thread for each the rate is the same.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from queues import Place, Producer, Shift


async def prepare(place: Place) -> None:
    """Nothing."""


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """It has no bulk call."""
    broker = RedisBroker(url=place.redis_url)

    @dramatiq.actor(broker=broker, actor_name="noop")
    def noop(t: str | None = None) -> None:
        """Runs elsewhere."""

    async def put(t: str | None) -> None:
        noop.send(t)

    async def put_many(count: int) -> None:
        for _ in range(count):
            noop.send()

    yield Producer(put, put_many)
    broker.close()


async def work(shift: Shift) -> None:
    """Eight threads."""
    broker, one = RedisBroker(url=shift.place.redis_url), threading.Lock()

    @dramatiq.actor(broker=broker, actor_name="noop")
    def noop(t: str | None = None) -> None:
        with one:
            shift.began(t)
            shift.ended()

    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    await shift.wait()
    worker.stop()
    broker.close()
