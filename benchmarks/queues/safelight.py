"""Ours: `JobQueue.enqueue` as the API calls it, and the processor's own Claims and Leases without children.

Every end is recorded with a result, and counts when that is recorded. Options of a worker: `slots`,
`pipelines`, `seconds` that a handler takes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from queues import BULK, CONNECTIONS, SLOTS, Place, Producer, Shift
from safelight import collector
from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.batches import Batches
from safelight.jobs.job import Ended, Lease
from safelight.jobs.queue import JobQueue
from safelight.progress import keys
from safelight.progress.announcer import Announcer
from safelight.progress.stream import Stream, connect
from safelight.progress.tail import Tail
from safelight.telemetry import logs
from safelight_processor.claims import Claims
from safelight_processor.leases import Leases, Run
from support.jobs import new_job


class _OverError(Exception):
    """The shift is over."""


async def prepare(place: Place) -> None:
    """The database was copied from one that is migrated."""


@asynccontextmanager
async def producer(place: Place, *, tenant: int = 1) -> AsyncIterator[Producer]:
    """The row is committed, then the processors are woken by a publish for many."""
    collector.settle()
    redis = connect(place.redis_url)
    async with open_pool(Settings(database_url=place.dsn, database_pool=CONNECTIONS)) as pool:
        queue, announcer = JobQueue(pool), Announcer(Stream(redis))
        telling = asyncio.create_task(announcer.run())

        async def put(t: str | None) -> None:
            await queue.enqueue(new_job(tenant=tenant, params=json.dumps({"t": t} if t else {})))
            announcer.wake()

        async def put_many(count: int) -> None:
            for at in range(0, count, BULK):
                await queue.enqueue_many([new_job(tenant=tenant) for _ in range(min(BULK, count - at))])
            announcer.wake()

        yield Producer(put, put_many)
        telling.cancel()
    await redis.aclose()


async def work(shift: Shift) -> None:
    """The processor's loops."""
    collector.settle()
    logs.configure("warning", "json", "bench")  # as quiet as the rivals are by default
    settings = Settings(database_url=shift.place.dsn, redis_url=shift.place.redis_url)
    seconds = shift.options.get("seconds", 0.0)
    async with open_pool(settings) as pool:
        queue = JobQueue(pool)
        leases = Leases(queue, settings)

        async def execute(run: Run) -> None:
            shift.began(json.loads(run.lease.params).get("t") if shift.serving else None)
            if seconds:
                await asyncio.sleep(seconds)
            assert await leases.complete(ended(run.lease)) is not None
            shift.ended()

        claims = Claims(
            queue,
            Batches(pool),
            leases,
            settings,
            execute,
            slots=shift.options.get("slots", SLOTS),
            worker=uuid4(),
        )
        claims.pipelines = shift.options.get("pipelines", ["noop"])
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(claims.run(group))
                if shift.serving:
                    group.create_task(_woken(shift, claims.wake))
                await shift.over.wait()
                raise _OverError  # what runs is let go, as a drain would take its time
        except* _OverError:
            pass


def ended(lease: Lease) -> Ended:
    """All went well."""
    return Ended(
        fence=lease.fence,
        state="succeeded",
        reason="completed",
        progress=100.0,
        stage=None,
        result='{"ok":true}',
    )


async def _woken(shift: Shift, wake: Callable[[], None]) -> None:
    async def resync() -> None:
        shift.ready()

    redis = connect(shift.place.redis_url, timeout=5.0)
    await Tail(redis, [keys.WAKE], lambda *_: wake(), resync).run()
