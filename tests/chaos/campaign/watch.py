"""What Postgres says while it all happens: how much waits, and how many jobs ended when.

`producer` is told by it whether there is room; `campaign` measures its windows with it, by the time at
which the queue itself says that a job ended.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from chaos.campaign.producer import Room
from safelight.config import Settings
from safelight.db.pool import OUTAGES, open_pool

_LOOK = 0.05  # seconds between two
_PART, _SECOND = 0.1, 10  # of a second, and how many of them it has
_LIVE = "select count(*) from ready"
_WAITING = "select count(*) from ready where state = 'queued'"
_ENDS = """
select width_bucket(extract(epoch from finished_at)::float8, $1::float8, $2::float8, $3::integer) as slice,
       count(*)
from done
where finished_at >= to_timestamp($1::float8) and finished_at < to_timestamp($2::float8)
group by 1
"""
_ANY = "select count(*) from (select from done limit 1) one"
_OLD = "select count(*) from ready where opened_at < to_timestamp($1::float8)"
_LAST_OLD = """
select coalesce(max(extract(epoch from finished_at) - $1::float8), 0)::float8 from done
where finished_at >= to_timestamp($1::float8) and opened_at < to_timestamp($1::float8)
"""


class Watch:
    """Looks at the queue for ever."""

    def __init__(self, pool: asyncpg.Pool, most: int) -> None:
        self.room = Room()
        self._pool = pool
        self._most = most

    async def run(self) -> None:
        """For ever: says how many more jobs may wait. While Postgres is away, they may try."""
        while True:
            try:
                waiting = await self._pool.fetchval(_WAITING)
            except OUTAGES:
                waiting = 0
            self.room.set(self._most - waiting)
            await asyncio.sleep(_LOOK)

    async def window(self, seconds: float, slices: int) -> float:
        """The rate of the next so many seconds."""
        began = time.time()
        await asyncio.sleep(seconds)
        return await self.rate(began, began + seconds, slices)

    async def rate(self, began: float, ended: float, slices: int) -> float:
        """Jobs that ended in a second, in a time that is over: the median of so many equal slices of it."""
        return statistics.median(await self._counts(began, ended, slices)) * slices / (ended - began)

    async def _counts(self, began: float, ended: float, slices: int) -> list[int]:
        """Of jobs that ended in each slice."""
        rows = await self._patiently(_ENDS, began, ended, slices)
        found = {row["slice"]: row["count"] for row in rows}
        return [found.get(number, 0) for number in range(1, slices + 1)]

    async def until_recovered(self, gone: float, rate: float, seconds: float) -> float | None:
        """Seconds from when a cause was gone until no job from before was left and as much ended as did.

        None when it takes longer than so many `seconds` from now on.
        """
        give_up = time.time() + seconds
        while (took := await self._recovery(gone, rate)) is None and time.time() < give_up:
            await asyncio.sleep(_LOOK)
        return took

    async def _recovery(self, gone: float, rate: float) -> float | None:
        if await self.count(_OLD, gone):
            return None
        [[last]] = await self._patiently(_LAST_OLD, gone)
        back = await self._back(gone, rate) if rate else 0.0
        return None if back is None else max(float(last), back)

    async def _back(self, gone: float, rate: float) -> float | None:
        """Seconds until the first second in which as much ended."""
        parts = int((time.time() - gone) / _PART)
        counts = await self._counts(gone, gone + parts * _PART, parts) if parts else []
        seconds = (sum(counts[part : part + _SECOND]) for part in range(parts - _SECOND + 1))
        return next((part * _PART for part, jobs in enumerate(seconds) if jobs >= rate), None)

    async def until_flowing(self) -> None:
        """A job has ended."""
        async with asyncio.timeout(30):
            while not await self.count(_ANY):
                await asyncio.sleep(_LOOK)

    async def until_empty(self, seconds: float) -> bool:
        """Whether nothing waits or runs any more, in time."""
        give_up = time.time() + seconds
        while await self.count(_LIVE):
            if time.time() > give_up:
                return False
            await asyncio.sleep(_LOOK)
        return True

    async def count(self, statement: str, *arguments: Any) -> int:
        """What a statement counts, as soon as Postgres is there to say it."""
        return int((await self._patiently(statement, *arguments))[0][0])

    async def _patiently(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with asyncio.timeout(60):
            while True:
                try:
                    return list(await self._pool.fetch(statement, *arguments))
                except OUTAGES:
                    await asyncio.sleep(_LOOK)


@asynccontextmanager
async def watching(database: str, most: int) -> AsyncIterator[Watch]:
    """A watch with connections of its own."""
    settings = Settings(database_url=database, database_pool=2, database_timeout=5.0)
    async with open_pool(settings) as pool:
        watch = Watch(pool, most)
        running = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
