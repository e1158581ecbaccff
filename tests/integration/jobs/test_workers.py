"""The processors that live, and a job's place in the queue. Over the real SQL."""

from uuid import uuid4

import pytest

from safelight.jobs.eta import Pace
from safelight.jobs.gates import Gates
from safelight.jobs.workers import Paces, Workers
from support.jobs import ERROR, claim, enqueue


@pytest.fixture
def workers(pool):
    return Workers(pool)


def test_paces_tell_half_and_nine_tenths_of_the_last_runs():
    paces = Paces()
    for seconds in range(100, 0, -1):
        paces.note("scan", 1, float(seconds))
    paces.note("scan", 3, 500.0)

    assert paces.table() == {"scan": {1: Pace(51.0, 91.0), 3: Pace(500.0, 500.0)}}


async def test_a_processor_is_seen_as_it_last_said_and_until_it_leaves(workers):
    one, other = uuid4(), uuid4()
    await workers.see(one, 2, ["scan"], {})
    await workers.see(one, 4, ["scan", "restore"], {"scan": {1: Pace(1.0, 2.0)}})
    await workers.see(other, 1, [], {})
    await workers.leave(other)

    [seen] = await workers.seen()

    assert (seen.id, seen.slots, seen.pipelines) == (one, 4, ["scan", "restore"])
    assert seen.paces == {"scan": {1: Pace(1.0, 2.0)}}


async def test_a_processor_that_is_silent_does_not_count_and_is_forgotten(workers, pool):
    silent, old = uuid4(), uuid4()
    for worker in (silent, old):
        await workers.see(worker, 1, [], {})
    await pool.execute("update worker set seen_at = now() - interval '1 minute' where id = $1", silent)
    await pool.execute("update worker set seen_at = now() - interval '1 hour' where id = $1", old)
    await workers.see(uuid4(), 1, [], {})

    assert silent not in [worker.id for worker in await workers.seen()]
    assert {row["id"] for row in await pool.fetch("select id from worker")} >= {silent}
    assert old not in {row["id"] for row in await pool.fetch("select id from worker")}


async def test_a_place_counts_those_of_higher_priority_and_those_before(queue, workers):
    first, second = await enqueue(queue), await enqueue(queue)
    await enqueue(queue, pipeline="other")
    high = await enqueue(queue, priority=3)

    assert [await workers.position(key) for key in (high, first, second)] == [0, 1, 2]


async def test_while_its_pipeline_is_paused_a_job_has_no_place(queue, workers, pool):
    key, gates = await enqueue(queue), Gates(pool, queue)
    await gates.pause_pipeline("noop", "ada", "a new model", 60)
    assert await workers.position(key) is None

    await gates.resume_pipeline("noop")
    assert await workers.position(key) == 0


async def test_what_runs_or_waits_for_its_time_has_no_place(queue, workers):
    key = await enqueue(queue)
    lease = await claim(queue)
    assert await workers.position(key) is None

    await queue.retry(lease.fence, 60.0, ERROR)

    assert await workers.position(key) is None
