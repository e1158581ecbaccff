"""Whose turn it is: priority, then fairness between tenants, then age. Over the real SQL."""

import asyncio
from uuid import uuid4

import pytest

from safelight.jobs.job import HandedBack
from safelight.jobs.queue import JobQueue
from support.jobs import ERROR, LEASE, WORKER, claim, enqueue, new_job, succeeded


async def tenants(pool, *weights):
    """Tenants of these weights; answers their ids."""
    return [
        await pool.fetchval("insert into tenant (name, weight) values ($1, $2) returning id", f"t{n}", weight)
        for n, weight in enumerate(weights)
    ]


async def flood(queue, tenant, count, **changes):
    await queue.enqueue_many([new_job(tenant=tenant, **changes) for _ in range(count)])


async def drained(queue, count, pipelines=("noop",)):
    """Claims one by one, each job ending before the next begins: whose they were."""
    order = []
    for _ in range(count):
        [lease] = await queue.claim(list(pipelines), 1, WORKER, LEASE)
        await queue.complete([succeeded(lease)])
        order.append(lease)
    return order


async def test_the_first_job_of_a_tenant_goes_to_the_front_of_a_flood(queue, pool):
    flooder, other = await tenants(pool, 1, 1)
    await flood(queue, flooder, 500)
    await drained(queue, 50)

    await enqueue(queue, tenant=other)

    assert other in [lease.tenant for lease in await drained(queue, 3)]


async def test_tenants_that_wait_share_alike_however_much_each_has(queue, pool):
    a, b, c = await tenants(pool, 1, 1, 1)
    await flood(queue, a, 300)
    await flood(queue, b, 60)
    await flood(queue, c, 60)

    served = [lease.tenant for lease in await drained(queue, 90)]

    assert [served.count(tenant) for tenant in (a, b, c)] == pytest.approx([30, 30, 30], abs=3)


async def test_a_tenant_of_weight_three_gets_three_times_as_much(queue, pool):
    light, heavy = await tenants(pool, 1, 3)
    await flood(queue, light, 200)
    await flood(queue, heavy, 200)

    served = [lease.tenant for lease in await drained(queue, 80)]

    assert served.count(heavy) == pytest.approx(60, abs=4)


async def test_what_a_tenant_got_from_an_idle_system_is_not_held_against_it(queue, pool):
    busy, late = await tenants(pool, 1, 1)
    await flood(queue, busy, 200)
    await drained(queue, 200)

    await flood(queue, late, 20)
    await flood(queue, busy, 20)

    served = [lease.tenant for lease in await drained(queue, 20)]
    assert served.count(busy) == pytest.approx(10, abs=2)


async def test_a_higher_priority_goes_first_and_a_lower_one_is_not_forgotten(queue):
    await flood(queue, 1, 40, priority=0)
    await flood(queue, 1, 40, priority=3)

    served = [lease.priority for lease in await drained(queue, 32)]

    assert served.count(3) >= 27
    assert served.count(0) >= 3


async def test_pipelines_of_one_processor_take_turns(queue):
    await flood(queue, 1, 60, pipeline="x")
    await flood(queue, 1, 60, pipeline="y")

    served = [lease.pipeline for lease in await drained(queue, 40, ["x", "y"])]

    assert served.count("x") == pytest.approx(20, abs=2)


async def test_equal_jobs_are_served_by_age(queue):
    keys = [await enqueue(queue) for _ in range(20)]

    assert [lease.key for lease in await drained(queue, 20)] == keys


async def test_jobs_that_come_back_are_found_in_front_of_those_that_wait(queue):
    await flood(queue, 1, 30)
    first = await claim(queue)
    await drained(queue, 10)
    await queue.release([HandedBack(fence=first.fence, progress=0.0)])

    again = await JobQueue(queue._pool).claim(["noop"], 1, WORKER, LEASE)  # a processor with no past

    assert [lease.key for lease in again] == [first.key]


async def test_a_storm_of_retries_leaves_room_for_those_that_wait(queue):
    await flood(queue, 1, 20)
    for lease in await queue.claim(["noop"], 20, WORKER, LEASE):
        await queue.retry(lease.fence, 0.001, ERROR)
    await flood(queue, 1, 20)
    await asyncio.sleep(0.01)

    attempts = [lease.attempt for lease in await queue.claim(["noop"], 10, WORKER, LEASE)]

    assert sorted(attempts) == [1] * 5 + [2] * 5


async def test_slots_that_nobody_else_wants_go_to_jobs_whose_delay_is_over(queue, pool):
    await flood(queue, 1, 6)
    runs = await queue.claim(["noop"], 6, WORKER, LEASE)
    await queue.release([HandedBack(fence=run.fence, progress=0.0, delay_seconds=500.0) for run in runs])
    await pool.execute("update ready set run_at = now() - interval '1 s'")

    again = await JobQueue(pool).claim(["noop"], 6, WORKER, LEASE)

    assert {lease.key for lease in again} == {run.key for run in runs}


async def test_a_lane_in_the_hands_of_many_is_emptied_without_a_rest(queue):
    await flood(queue, 1, 300)
    queues = [JobQueue(queue._pool) for _ in range(4)]

    async def work(mine):
        taken = []
        while leases := await mine.claim(["noop"], 7, uuid4(), LEASE):
            taken += [lease.key for lease in leases]
            await mine.complete([succeeded(lease) for lease in leases])
        return taken

    taken = [key for keys in await asyncio.gather(*map(work, queues)) for key in keys]

    assert len(taken) == len(set(taken))
    assert len(taken) + len(await queue.claim(["noop"], 300, WORKER, LEASE)) == 300
