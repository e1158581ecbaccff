"""Jobs that ended long ago, and the days of `done` in which they did."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from safelight.jobs.job import Lease
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Debris, Retention, beginning
from safelight.wire.key import JobKey
from support.jobs import LEASE, WORKER, enqueue, succeeded

DAY = 86400.0
WEEK = 7 * DAY


async def ended(queue: JobQueue, pool: asyncpg.Pool, days_ago: float = 30.0, **changes: Any) -> JobKey:
    """A job that was canceled so many days ago."""
    key = await enqueue(queue, **changes)
    await queue.cancel(key)
    await backdate(pool, [key], days_ago)
    return key


async def done(queue: JobQueue, pool: asyncpg.Pool, days_ago: float = 30.0, **changes: Any) -> Lease:
    """A job that succeeded so many days ago. No other may wait."""
    await enqueue(queue, **changes)
    [lease] = await queue.claim(["noop"], 1, WORKER, LEASE)
    await queue.complete([succeeded(lease)])
    await backdate(pool, [lease.key], days_ago)
    return lease


async def backdate(pool: asyncpg.Pool, keys: Sequence[JobKey], days_ago: float) -> None:
    """Whatever has ended of these jobs did so that long ago."""
    await pool.execute(
        "update done set finished_at = finished_at - $2::interval where job_id = any ($1)",
        [key.id for key in keys],
        timedelta(days=days_ago),
    )


async def make_day(pool: asyncpg.Pool, days_ago: int) -> str:
    """A day of history that is past; answers its name. It has to be there before its ends are."""
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    name = f"done_{day:%Y%m%d}"
    await pool.execute(
        f"create table {name} partition of done "
        f"for values from ('{day} 00:00+00') to ('{day + timedelta(days=1)} 00:00+00')"
    )
    return name


async def days(pool: asyncpg.Pool) -> list[str]:
    """The names of all days, in order; of those that were taken out, too."""
    return [row["name"] for row in await pool.fetch("select name from done_day order by day")]


async def prune_all(
    retention: Retention, seconds: float = WEEK, *, by_row: bool = True, limit: int = 500
) -> list[Debris]:
    """Goes through all ends once, as a pruner does; answers what is left of the jobs that were forgotten."""
    before = await retention.cutoff(seconds)
    found: list[Debris] = []
    place = beginning()
    while True:
        page = await retention.prune(place, before, by_row=by_row, limit=limit)
        found += page.forgotten
        if page.end is None:
            return found
        place = page.end
