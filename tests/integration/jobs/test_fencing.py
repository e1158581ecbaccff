"""A run that lost its lease: whatever it still writes is refused, and changes nothing."""

import asyncio

import pytest

from safelight.jobs.job import Beat, HandedBack, Lease
from safelight.jobs.queue import JobQueue
from support.jobs import ERROR, LEASE, claim, enqueue, failed, succeeded


async def stale_and_live(queue: JobQueue) -> tuple[Lease, Lease]:
    """Two leases of one job: the first expired and was rescued, the second holds."""
    await enqueue(queue)
    stale = await claim(queue, lease_seconds=0.001)
    await asyncio.sleep(0.01)
    await queue.rescue()
    return stale, await claim(queue)


async def write(queue: JobQueue, verb: str, lease: Lease) -> object:
    beat = Beat(fence=lease.fence, progress=99.0, progress_n=9, stage="late", status="late")
    match verb:
        case "heartbeat":
            return await queue.heartbeat([beat], LEASE)
        case "complete":
            return await queue.complete([succeeded(lease)])
        case "fail":
            return await queue.complete([failed(lease)])
        case "retry":
            return await queue.retry(lease.fence, 0.0, ERROR)
        case _:
            return await queue.release([HandedBack(fence=lease.fence, progress=10.0)])


@pytest.mark.parametrize("verb", ["heartbeat", "complete", "fail", "retry", "release"])
async def test_a_late_write_is_refused_and_changes_nothing(queue, verb):
    stale, live = await stale_and_live(queue)
    before = await queue.get(live.key)

    assert not await write(queue, verb, stale)

    assert await queue.get(live.key) == before
    assert live.fence in await queue.complete([succeeded(live)])


async def test_the_fence_is_no_attempt_number(queue):
    """After a release the attempt is the same as before; the lease epoch is not."""
    await enqueue(queue)
    stale = await claim(queue)
    await queue.release([HandedBack(fence=stale.fence, progress=10.0)])
    live = await claim(queue)

    assert stale.attempt == live.attempt
    assert await queue.complete([succeeded(stale)]) == {}
    assert live.fence in await queue.complete([succeeded(live)])


async def test_a_completion_is_recorded_once_however_often_it_is_sent(queue):
    await enqueue(queue)
    lease = await claim(queue)

    answers = await asyncio.gather(*(queue.complete([succeeded(lease)]) for _ in range(10)))

    assert sum(len(answer) for answer in answers) == 1


async def test_a_batch_of_completions_is_fenced_one_by_one(queue):
    stale, live = await stale_and_live(queue)

    recorded = await queue.complete([succeeded(stale), succeeded(live)])

    assert list(recorded) == [live.fence]


async def test_lease_epochs_of_a_job_only_grow(queue):
    await enqueue(queue, max_attempts=10)
    epochs = []
    for turn in range(6):
        lease = await claim(queue, lease_seconds=0.001)
        epochs.append(lease.lease_epoch)
        await asyncio.sleep(0.005)
        if turn % 2:
            await queue.rescue()
        else:
            await queue.release([HandedBack(fence=lease.fence, progress=10.0)])

    assert epochs == [1, 2, 3, 4, 5, 6]
