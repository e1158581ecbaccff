"""SAQ on Postgres: 100 at once, NOTIFY. It stores results in its jobs' rows, for ten minutes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from saq.queue.postgres import PostgresQueue

from queues import CONNECTIONS, Place, Producer, Shift
from queues.saq_redis import produce, run


def _queue(place: Place) -> PostgresQueue:
    return PostgresQueue.from_url(place.dsn, name="noop", min_size=4, max_size=CONNECTIONS)


async def prepare(place: Place) -> None:
    """It makes its tables when it connects."""
    queue = _queue(place)
    await queue.connect()
    await queue.disconnect()


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """On a pool; it has no bulk call."""
    async with produce(_queue(place)) as putting:
        yield putting


async def work(shift: Shift) -> None:
    """100 at once."""
    await run(shift, _queue(shift.place))
