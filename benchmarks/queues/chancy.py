"""Chancy: its asyncio executor with 250 jobs at once, NOTIFY, asking again at once after each job.

It keeps its jobs' rows, stores no result, and writes ends from time to time (once a second; here ten times),
so that a crash runs them again. They count when they are written, as ours do: its handlers may be through
with all jobs before the end of the first one is recorded. It has none of its plugins (metrics, workflows, …)
here, as they cost time for each job.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chancy import Chancy, Queue, Worker, job
from chancy.plugin import Plugin

from queues import BULK, CONNECTIONS, SLOTS, Place, Producer, Shift

_shifts: list[Shift] = []  # a handler is found by its name, so it can close over nothing


@job(queue="noop")
async def noop(*, t: str = "") -> None:
    """A handler."""
    _shifts[0].began(t)


class _Recorded(Plugin):
    """Told of every end when it is in the database."""

    @staticmethod
    def get_identifier() -> str:
        return "bench.recorded"

    async def on_job_updated(self, *, worker, job) -> None:
        _shifts[0].ended()


def _chancy(place: Place, *plugins: Plugin) -> Chancy:
    log = logging.getLogger("chancy")
    log.setLevel(logging.WARNING)
    return Chancy(
        place.dsn,
        plugins=list(plugins),
        max_connection_pool_size=CONNECTIONS,
        log=log,
        no_default_plugins=True,
    )


async def prepare(place: Place) -> None:
    """Its own migrations, and the queue."""
    async with _chancy(place) as app:
        await app.migrate()
        await app.declare(
            Queue("noop", executor=Chancy.Executor.Async, concurrency=SLOTS, eager_polling=True)
        )


@asynccontextmanager
async def producer(place: Place) -> AsyncIterator[Producer]:
    """On a pool."""
    async with _chancy(place) as app:

        async def put(t: str | None) -> None:
            await app.push(noop.job.with_kwargs(t=t or ""))

        async def put_many(count: int) -> None:
            async for _ in app.push_many([noop.job] * count, batch_size=BULK):
                pass

        yield Producer(put, put_many)


async def work(shift: Shift) -> None:
    """A worker, until it is over."""
    _shifts.append(shift)
    async with (
        _chancy(shift.place, _Recorded()) as app,
        Worker(app, register_signal_handlers=False) as worker,
    ):
        worker.send_outgoing_interval = 0.1
        await shift.wait()
