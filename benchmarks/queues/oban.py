"""Oban for Python: 250 at once, NOTIFY. It keeps its jobs' rows and stores no result unless asked to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oban import Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

from queues import BULK, CONNECTIONS, SLOTS, Place, Producer, Shift

_shifts: list[Shift] = []  # a handler is found by its name, so it can close over nothing


@worker(queue="noop")
class Noop:
    """A handler."""

    async def process(self, job) -> None:
        _shifts[0].began(job.args.get("t"))
        _shifts[0].ended()


def _pool(place: Place) -> AsyncConnectionPool:
    return AsyncConnectionPool(place.dsn, min_size=1, max_size=CONNECTIONS, open=False)


async def prepare(place: Place) -> None:
    """Its own tables."""
    async with _pool(place) as pool:
        await install(pool)


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """On a pool."""
    async with _pool(place) as pool, Oban(pool=pool) as oban:

        async def put(t: str | None) -> None:
            await oban.enqueue(Noop.new({"t": t} if t else {}))

        async def put_many(count: int) -> None:
            for at in range(0, count, BULK):
                await oban.enqueue_many([Noop.new({}) for _ in range(min(BULK, count - at))])

        yield Producer(put, put_many)


async def work(shift: Shift) -> None:
    """250 at once."""
    _shifts.append(shift)
    async with _pool(shift.place) as pool, Oban(pool=pool, queues={"noop": SLOTS}):
        await shift.wait()
