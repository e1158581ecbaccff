"""The leases of a process, over the real queue: who is told to stop, and by whom."""

import asyncio

import asyncpg
import pytest

from safelight.config import Settings
from safelight.jobs.queue import JobQueue
from safelight_processor.leases import Leases, Run
from support.jobs import claim, enqueue


@pytest.fixture
async def queue(pool: asyncpg.Pool) -> JobQueue:
    return JobQueue(pool)


@pytest.fixture
async def leases(queue):
    leases = Leases(queue, Settings())
    heeding = asyncio.create_task(leases.heed())
    yield leases
    heeding.cancel()


async def begun(queue, leases) -> Run:
    await enqueue(queue)
    run = Run(await claim(queue))
    leases.add(run)
    return run


async def stopped(run: Run) -> None:
    """Waits until the run was told to stop."""
    work = asyncio.create_task(asyncio.Event().wait())
    run.working(work)
    async with asyncio.timeout(10):
        await asyncio.wait([work])


async def test_word_of_a_cancel_stops_the_run_at_once(queue, leases):
    run = await begun(queue, leases)
    await queue.cancel(run.lease.key)

    leases.cancel(run.lease.key)

    await stopped(run)
    assert run.interruption == "cancel"


async def test_word_of_a_cancel_that_nobody_asked_for_stops_nothing(queue, leases):
    """It may come late, when the job was reopened and this is another run of it."""
    late, other = await begun(queue, leases), await begun(queue, leases)
    await queue.cancel(other.lease.key)

    leases.cancel(late.lease.key)

    await stopped(other)  # the look that this brought about is over
    assert late.interruption is None
