"""Batches: counts, weighted progress, one end. Over the real SQL."""

import asyncio
from uuid import uuid4

import pytest

from safelight.errors import Failure
from safelight.jobs.batches import Batches, BatchKey
from safelight.jobs.job import Beat
from safelight.jobs.queue import JobQueue
from safelight_processor.maintenance.batches import BatchEnder
from support.history import backdate, prune_all
from support.jobs import LEASE, WORKER, claim, enqueue, failed, succeeded


@pytest.fixture
def batches(pool):
    return Batches(pool)


@pytest.fixture
async def batch(batches):
    key = BatchKey(1, uuid4())
    await batches.create(key, 3)
    return key


async def fill(queue, batch, count=3, **changes):
    return [await enqueue(queue, batch=batch.id, **changes) for _ in range(count)]


async def claim_all(queue):
    return await queue.claim(["noop"], 100, WORKER, LEASE)


async def test_a_batch_counts_its_jobs_by_state(queue, batches, batch):
    keys = await fill(queue, batch)
    await enqueue(queue)
    await queue.complete([succeeded(await claim(queue))])
    await queue.complete([failed(await claim(queue))])

    found = await batches.get(batch)

    assert found is not None
    assert (found.queued, found.running, found.succeeded, found.failed, found.canceled) == (1, 0, 1, 1, 0)
    assert [job.key for job in await queue.list_batch(1, batch.id, 10)] == keys


async def test_progress_is_weighted_and_counts_the_jobs_that_are_to_come(queue, batches, batch):
    await enqueue(queue, batch=batch.id, weight=3.0)
    lease = await claim(queue)
    beat = Beat(fence=lease.fence, progress=50.0, progress_n=1, stage=None, status=None)
    await queue.heartbeat([beat], LEASE)
    assert (await batches.get(batch)).progress == pytest.approx(50 / 3)

    await enqueue(queue, batch=batch.id, weight=1.0)
    await enqueue(queue, batch=batch.id, weight=2.0)

    assert (await batches.get(batch)).progress == pytest.approx(25.0)


async def test_a_batch_ends_once_when_all_its_jobs_have_ended(queue, batches, batch):
    await fill(queue, batch)
    leases = await claim_all(queue)
    await queue.complete([succeeded(lease) for lease in leases[:2]])
    assert await batches.end([batch]) == []
    await queue.complete([failed(leases[2])])

    assert await batches.end([batch]) == [batch]
    assert await batches.end([batch]) == []
    assert (await batches.get(batch)).ended_at is not None


async def test_a_batch_that_waits_for_jobs_has_not_ended(queue, batches, batch):
    await fill(queue, batch, count=2)
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])

    assert await batches.end([batch]) == []


async def test_of_many_that_end_its_last_jobs_at_once_one_tells_of_the_end(queue, batches, pool, batch):
    await fill(queue, batch)
    leases = await claim_all(queue)

    async def end(lease):
        await JobQueue(pool).complete([succeeded(lease)])
        return await Batches(pool).end([batch])

    told = await asyncio.gather(*map(end, leases))

    assert sorted(map(len, told)) == [0, 0, 1]


async def test_maintenance_finds_a_batch_whose_end_nobody_told(queue, batches, batch):
    await fill(queue, batch)
    assert await batches.open(10) == ([], None)
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])

    found, _ = await batches.open(10)
    assert found == [batch]


async def test_a_job_that_is_reopened_reopens_its_batch(queue, batches, batch):
    keys = await fill(queue, batch)
    await queue.complete([failed(lease) for lease in await claim_all(queue)])
    await batches.end([batch])

    await queue.reopen(keys[0])

    found = await batches.get(batch)
    assert (found.ended_at, found.round, found.queued, found.failed) == (None, 2, 1, 2)
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])
    assert await batches.end([batch]) == [batch]


async def forget(retention, pool, keys):
    await backdate(pool, keys, 8)
    assert len(await prune_all(retention)) == len(keys)


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_batch_some_of_whose_jobs_are_forgotten_ends_with_the_others(
    queue, batches, pool, retention, batch, left
):
    first = await fill(queue, batch, 3 - left)
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])
    await forget(retention, pool, first)
    if left:
        assert await batches.end([batch]) == []
        await fill(queue, batch, left)
        await queue.complete([failed(lease) for lease in await claim_all(queue)])

    assert await batches.end([batch]) == [batch]
    found = await batches.get(batch)
    assert (found.progress, found.failed) == (pytest.approx(100.0), left)


async def test_a_batch_of_which_a_job_is_reopened_when_others_are_forgotten_ends_again(
    queue, batches, pool, retention, batch
):
    keys = await fill(queue, batch)
    await queue.complete([failed(lease) for lease in await claim_all(queue)])
    await batches.end([batch])
    await forget(retention, pool, keys[1:])

    await queue.reopen(keys[0])
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])

    assert await batches.end([batch]) == [batch]


async def test_a_batch_knows_what_is_forgotten_of_it_in_the_commit_that_forgets(
    queue, batches, pool, retention, batch
):
    """Whoever dies after it cannot leave a batch that waits for a job which nobody has."""
    keys = await fill(queue, batch)
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])
    await forget(retention, pool, keys[:2])

    assert await pool.fetchval("select forgotten from batch where id = $1", batch.id) == 2


async def test_a_job_of_a_batch_is_its_own_and_no_other_answers_for_it(queue, batches, batch):
    """Else the batch would wait for one that it will never have."""
    same = b"the same images"
    outside = await enqueue(queue, content=same)
    keys = await fill(queue, batch, content=same)

    assert len({outside, *keys}) == 4
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])
    assert await batches.end([batch]) == [batch]
    assert await enqueue(queue, content=same) in {outside, *keys}


async def test_maintenance_gets_past_batches_that_never_get_all_their_jobs(queue, batches, batch):
    """However many there are: their clients have gone."""
    for _ in range(5):
        await batches.create(BatchKey(1, uuid4()), 2)
    late = BatchKey(1, uuid4())
    await batches.create(late, 1)
    await fill(queue, late, 1)
    await queue.complete([succeeded(lease) for lease in await claim_all(queue)])
    ender = BatchEnder(batches, most=2)

    for _ in range(4):
        await ender.run_once()

    assert (await batches.get(late)).ended_at is not None


async def test_a_batch_is_made_once_and_with_one_size(batches, batch):
    await batches.create(batch, 3)

    with pytest.raises(Failure, match="id_taken"):
        await batches.create(batch, 4)


async def test_tenants_do_not_see_each_others_batches(batches, batch):
    assert await batches.get(BatchKey(2, batch.id)) is None
