"""Procrastinate: 100 at once, NOTIFY.

It keeps its jobs' rows, stores no result, and commits twice a job: to fetch and to end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector

from queues import BULK, CONNECTIONS, ONE_BY_ONE, Place, Producer, Shift


async def prepare(place: Place) -> None:
    """Its own schema."""
    async with App(connector=PsycopgConnector(conninfo=place.dsn)).open_async() as app:
        await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """On a pool."""
    app = App(connector=PsycopgConnector(conninfo=place.dsn, min_size=1, max_size=CONNECTIONS))
    async with app.open_async():
        task = app.configure_task("noop")

        async def put(t: str | None) -> None:
            await task.defer_async(t=t)

        async def put_many(count: int) -> None:
            for at in range(0, count, BULK):
                await task.batch_defer_async(*({} for _ in range(min(BULK, count - at))))

        yield Producer(put, put_many)


async def work(shift: Shift) -> None:
    """100 at once."""
    app = App(connector=PsycopgConnector(conninfo=shift.place.dsn, min_size=2, max_size=10))

    @app.task(name="noop")
    async def noop(t: str | None = None) -> None:
        shift.began(t)
        shift.ended()

    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(concurrency=ONE_BY_ONE, install_signal_handlers=False)
        )
        await shift.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
