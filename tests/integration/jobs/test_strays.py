"""What a worker was given and never heard of is handed back; nothing else is."""

import asyncio
from uuid import UUID

from support.jobs import LEASE, WORKER, claim, enqueue, running

OTHER = UUID(int=2)


async def test_a_worker_hands_back_what_it_does_not_know_and_nothing_of_others(queue):
    known, stray = await running(queue), await running(queue)
    other = await enqueue(queue)
    [foreign] = await queue.claim(["noop"], 1, OTHER, LEASE)

    [change] = await queue.release_strays(WORKER, [known.fence])

    assert (change.key, change.state, change.reason, change.attempt) == (stray.key, "queued", "released", 0)
    assert [(await queue.get(key)).state for key in (known.key, other)] == ["running", "running"]
    assert foreign.key == other
    again = await claim(queue)
    assert (again.key, again.attempt, again.lease_epoch) == (stray.key, 1, 2)


async def test_a_worker_that_knows_all_that_it_has_hands_nothing_back(queue):
    leases = [await running(queue) for _ in range(3)]

    assert await queue.release_strays(WORKER, [lease.fence for lease in leases]) == []
    assert await queue.release_strays(OTHER, []) == []


async def test_a_run_before_of_the_same_job_is_no_knowledge_of_this_one(queue):
    first = await running(queue)
    await queue.release_strays(WORKER, [])
    await claim(queue)

    [change] = await queue.release_strays(WORKER, [first.fence])

    assert change.attempt == 0


async def test_a_stray_whose_cancel_was_accepted_ends_as_canceled(queue):
    lease = await running(queue)
    await queue.cancel(lease.key)

    [change] = await queue.release_strays(WORKER, [])

    assert (change.state, change.cursor.seq) == ("canceled", 3)
    assert (await queue.get(lease.key)).state == "canceled"


async def test_however_many_look_at_once_a_stray_is_handed_back_once(queue):
    keys = [(await running(queue)).key for _ in range(10)]

    answers = await asyncio.gather(*(queue.release_strays(WORKER, []) for _ in range(5)))

    assert sorted(change.key for answer in answers for change in answer) == sorted(keys)
    assert {(await queue.get(key)).attempt for key in keys} == {0}
