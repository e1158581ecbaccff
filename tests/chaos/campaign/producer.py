"""Clients who submit jobs through a real `JobQueue` as fast as there is room, and note what was acknowledged.

Most of them ask again under the same id until they are answered, as a phone does. One in eight gives up at
the first refusal: nobody may then find half of its job.
"""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chaos.campaign.ledger import Ledger
from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.errors import Failure
from safelight.jobs.job import NewJob
from safelight.jobs.queue import JobQueue
from support.jobs import new_job

ATTEMPTS: Final = 100  # far more than any job can lose here: none may fail for having been unlucky
_GIVES_UP = 8  # one in so many
_PAUSE = 0.05  # seconds until a client that was refused asks again


class Room:
    """How many more jobs may wait; `watch` says it again and again."""

    def __init__(self) -> None:
        self._free = 0
        self._more = asyncio.Event()

    def set(self, free: int) -> None:
        """So many more, from now on."""
        self._free = free
        if free > 0:
            self._more.set()

    async def take(self) -> None:
        """Waits until there is some, and has one less then."""
        while self._free <= 0:
            self._more.clear()
            await self._more.wait()
        self._free -= 1


class Producer:
    """`callers` of them at once; they wait while there is no `room`. Their jobs take some `seconds`."""

    def __init__(self, queue: JobQueue, ledger: Ledger, room: Room, callers: int, seconds: float) -> None:
        self.refused = 0
        self._queue = queue
        self._ledger = ledger
        self._room = room
        self._callers = callers
        self._seconds = seconds
        self._numbers = itertools.count(1)
        self._over = False

    async def run(self) -> None:
        """Until `stop`, and until everybody who asks again has been answered."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._callers):
                group.create_task(self._call())

    def stop(self) -> None:
        """No more new jobs."""
        self._over = True

    async def _call(self) -> None:
        while not self._over:
            await self._room.take()  # there soon is: workers go on until nothing waits
            number = next(self._numbers)
            # By chance, or after an outage all would end at once, again and again.
            params = json.dumps({"seconds": self._seconds * random.uniform(0.5, 1.5)})
            job = new_job(named=True, max_attempts=ATTEMPTS, params=params)
            await self.submit(job, gives_up=number % _GIVES_UP == 0)

    async def submit(self, job: NewJob, *, gives_up: bool = False) -> None:
        """One job, until it is acknowledged."""
        while True:
            try:
                found, _ = await self._queue.enqueue(job)
            except Failure as failure:
                if failure.code != "unavailable":
                    raise
                self.refused += 1
                if gives_up:
                    self._ledger.note("abandoned", job.id)
                    return
                await asyncio.sleep(_PAUSE)
            else:
                assert found == job.id
                self._ledger.note("acknowledged", job.id)
                return


@asynccontextmanager
async def producing(
    database: str, ledger: Ledger, room: Room, callers: int, seconds: float
) -> AsyncIterator[tuple[Producer, asyncio.Task[None]]]:
    """Clients with a pool of their own, and the task that ends after `stop`, when all are answered."""
    async with open_pool(Settings(database_url=database, database_timeout=5.0)) as pool:
        producer = Producer(JobQueue(pool), ledger, room, callers, seconds)
        running = asyncio.create_task(producer.run())
        try:
            yield producer, running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
