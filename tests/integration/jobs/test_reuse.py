"""Jobs of the same content: one runs, the others are answered by it. Over the real SQL."""

import asyncio

import pytest

from safelight.jobs.queue import JobQueue
from support.history import DAY, backdate
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


async def test_a_key_that_is_known_says_which_job_it_is(queue):
    older = await enqueue(queue, content=SAME)
    mine = await enqueue(queue, content=None, idempotency_key="mine")
    assert mine != older

    assert await enqueue(queue, content=SAME, idempotency_key="mine") == mine
    assert await enqueue(queue, content=SAME, idempotency_key="new") == older


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


@pytest.mark.parametrize(("days_ago", "used"), [(3.4, True), (3.6, False), (6.99, False)])
async def test_a_result_is_used_again_while_it_is_kept_for_long_enough(pool, days_ago, used):
    """Who is answered by it comes for it later, as with a job of its own."""
    queue = JobQueue(pool, reuse_seconds=3.5 * DAY)
    first = await enqueue(queue, content=SAME)
    await queue.complete([succeeded(await claim(queue))])
    await backdate(pool, [first], days_ago)

    assert (await enqueue(queue, content=SAME) == first) is used


async def test_a_result_that_is_too_old_is_followed_by_a_newer_one(pool):
    queue = JobQueue(pool, reuse_seconds=DAY)
    first = await enqueue(queue, content=SAME)
    await queue.complete([succeeded(await claim(queue))])
    await backdate(pool, [first], 2)

    second = await enqueue(queue, content=SAME)
    assert await enqueue(queue, content=SAME) == second != first
    await queue.complete([succeeded(await claim(queue))])

    assert await enqueue(queue, content=SAME) == second


async def test_a_job_that_waits_or_runs_answers_however_old_it_is(pool):
    queue = JobQueue(pool, reuse_seconds=DAY)
    first = await enqueue(queue, content=SAME)
    await pool.execute("update job set created_at = now() - interval '30 days'")

    assert await enqueue(queue, content=SAME) == first


async def test_a_job_that_was_asked_to_stop_answers_nobody(queue):
    first = await enqueue(queue, content=SAME)
    await claim(queue)
    await queue.cancel(first)

    assert await enqueue(queue, content=SAME) != first
