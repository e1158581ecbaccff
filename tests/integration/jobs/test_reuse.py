"""Jobs of the same content: one runs, the others are answered by it. Over the real SQL."""

import asyncio

from safelight.jobs.queue import JobQueue
from support.jobs import claim, enqueue, failed, new_job, succeeded

SAME = b"the same images, pipeline, version and params"


async def test_a_job_of_the_same_content_joins_the_one_that_waits_or_runs(queue):
    first = await enqueue(queue, content=SAME)
    assert await enqueue(queue, content=SAME) == first
    await claim(queue)

    assert await queue.enqueue(new_job(content=SAME)) == (first.id, False)


async def test_a_result_is_used_again(queue):
    first = await enqueue(queue, content=SAME)
    await queue.complete([succeeded(await claim(queue))])

    assert await enqueue(queue, content=SAME) == first


async def test_a_failure_is_not(queue):
    first = await enqueue(queue, content=SAME)
    await queue.complete([failed(await claim(queue))])

    second = await enqueue(queue, content=SAME)

    assert second != first
    assert await enqueue(queue, content=SAME) == second


async def test_who_does_not_let_it_gets_a_job_of_its_own(queue):
    first = await enqueue(queue, content=SAME)

    assert await enqueue(queue, content=None) != first


async def test_tenants_do_not_share(queue):
    mine, theirs = await enqueue(queue, tenant=1, content=SAME), await enqueue(queue, tenant=2, content=SAME)

    assert mine.id != theirs.id


async def test_of_those_that_come_at_once_one_is_new(queue, pool):
    queues = [JobQueue(pool) for _ in range(5)]

    answers = await asyncio.gather(
        *(mine.enqueue(new_job(content=SAME)) for mine in queues for _ in range(4))
    )

    assert [created for _, created in answers].count(True) == 1
    assert len({job for job, _ in answers}) == 1


async def test_a_repeat_by_id_is_answered_by_its_own_job(queue):
    first = await enqueue(queue, content=SAME)

    assert await queue.enqueue(new_job(id=first.id, content=SAME)) == (first.id, False)
