"""awa: a Rust runtime with Python handlers, NOTIFY. It keeps finished jobs for a day, stores no result."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from awa import AsyncClient

from queues import BULK, CONNECTIONS, SLOTS, Place, Producer, Shift


@dataclass
class Noop:
    """A job: its type is its name."""

    t: str = ""


async def prepare(place: Place) -> None:
    """Its own migrations, and the storage that its README recommends for what is hot."""
    async with AsyncClient(place.dsn) as client:
        await client.migrate()
        await client.install_queue_storage()


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """One insert a job; COPY for many."""
    async with AsyncClient(place.dsn, max_connections=CONNECTIONS) as client:

        async def put(t: str | None) -> None:
            await client.insert(Noop(t or ""), queue="noop")

        async def put_many(count: int) -> None:
            for at in range(0, count, BULK):
                await client.enqueue_many_copy([Noop()] * min(BULK, count - at), queue="noop")

        yield Producer(put, put_many)


async def work(shift: Shift) -> None:
    """So many at once, with one claimer, its default: with 2 or 4 it was slower here."""
    client = AsyncClient(shift.place.dsn, max_connections=CONNECTIONS)

    @client.task(Noop, queue="noop")
    async def noop(job) -> None:
        shift.began(job.args.t)
        shift.ended()

    await client.start([{"name": "noop", "max_workers": SLOTS}])
    await shift.wait()
    await client.shutdown()
    await client.close()
