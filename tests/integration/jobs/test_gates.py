"""Limits and pauses, over the real SQL: never more than allowed, and nothing that is held is forgotten."""

import asyncio

import pytest

from safelight.errors import Failure
from safelight.jobs.gates import Gates
from safelight.jobs.job import HandedBack
from safelight.jobs.queue import JobQueue
from support.jobs import ERROR, LEASE, WORKER, claim, enqueue, new_job, succeeded


@pytest.fixture
def gates(pool, queue):
    return Gates(pool, queue)


@pytest.fixture
async def tenant(pool):
    return await pool.fetchval("insert into tenant (name) values ('acme') returning id")


@pytest.fixture
async def scan(pool):
    await pool.execute("insert into pipeline (name, version, declaration) values ('scan', '1', '{}')")
    return "scan"


async def claim_all(queue, *pipelines):
    return await queue.claim(list(pipelines) or ["noop"], 100, WORKER, LEASE)


async def test_no_more_of_a_tenant_run_than_it_may(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=3)
    for _ in range(10):
        await enqueue(queue, tenant=tenant)

    leases = await claim_all(queue)

    assert len(leases) == 3
    assert await claim_all(queue) == []


async def test_what_ends_makes_room_for_the_next_in_order(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=1)
    keys = [await enqueue(queue, tenant=tenant) for _ in range(5)]

    served = []
    for _ in range(5):
        [lease] = await claim_all(queue)
        await queue.complete([succeeded(lease)])
        await queue.admit()
        served.append(lease.key)

    assert served == keys


async def test_others_pass_by_a_tenant_that_waits_for_room(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=1)
    await queue.enqueue_many([new_job(tenant=tenant) for _ in range(200)])
    await queue.admit()
    mine = await enqueue(queue)

    assert {lease.key for lease in await claim_all(queue)} > {mine}


async def test_a_limit_counts_the_jobs_that_were_there_before_it(queue, gates, tenant):
    for _ in range(6):
        await enqueue(queue, tenant=tenant)
    began = await queue.claim(["noop"], 2, WORKER, LEASE)

    await gates.limit_tenant("acme", max_running=3)

    assert len(await claim_all(queue)) == 1
    await queue.complete([succeeded(lease) for lease in began])
    await queue.admit()
    assert len(await claim_all(queue)) == 2


async def test_without_its_limit_everything_of_a_tenant_may_run(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=1)
    await queue.enqueue_many([new_job(tenant=tenant) for _ in range(20)])

    await gates.limit_tenant("acme")

    assert len(await claim_all(queue)) == 20


async def test_a_pipeline_has_a_limit_over_all_tenants_and_they_take_turns(queue, gates, tenant, scan):
    await gates.limit_pipeline(scan, max_running=4)
    for owner in (1, tenant):
        await queue.enqueue_many([new_job(tenant=owner, pipeline=scan) for _ in range(10)])
    await queue.admit()

    leases = await claim_all(queue, scan)

    assert sorted(lease.tenant for lease in leases) == [1, 1, tenant, tenant]


async def test_concurrent_admissions_never_let_in_too_many(queue, gates, pool, tenant):
    await gates.limit_tenant("acme", max_running=5)
    await queue.enqueue_many([new_job(tenant=tenant) for _ in range(50)])

    await asyncio.gather(*(JobQueue(pool).admit() for _ in range(20)))

    assert len(await claim_all(queue)) == 5


async def test_a_retry_waits_outside_and_comes_in_when_it_is_due(queue, gates, pool, tenant):
    await gates.limit_tenant("acme", max_running=1)
    first, second = await enqueue(queue, tenant=tenant), await enqueue(queue, tenant=tenant)
    lease = await claim(queue)
    await queue.retry(lease.fence, 60.0, ERROR)
    await queue.admit()

    [other] = await claim_all(queue)
    assert (lease.key, other.key) == (first, second)
    await pool.execute("update ready set run_at = now() where job_id = $1", first.id)
    await queue.admit()
    assert await claim_all(queue) == []
    await queue.complete([succeeded(other)])
    await queue.admit()

    assert [again.key for again in await claim_all(queue)] == [first]


async def test_a_release_keeps_its_place(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=1)
    for _ in range(2):
        await enqueue(queue, tenant=tenant)
    lease = await claim(queue)
    await queue.release([HandedBack(fence=lease.fence, progress=0.0)])
    await queue.admit()

    assert [again.key for again in await claim_all(queue)] == [lease.key]


async def test_a_job_that_is_reopened_waits_for_room_as_well(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=1)
    over = await enqueue(queue, tenant=tenant)
    await queue.cancel(over)
    running = await enqueue(queue, tenant=tenant)
    assert [lease.key for lease in await claim_all(queue)] == [running]

    await queue.reopen(over)
    await queue.admit()

    assert await claim_all(queue) == []


async def test_a_full_queue_refuses_and_knows_its_own_jobs(queue, gates, tenant):
    await gates.limit_tenant("acme", max_queued=2)
    kept = [await enqueue(queue, tenant=tenant) for _ in range(2)]

    with pytest.raises(Failure) as refused:
        await enqueue(queue, tenant=tenant)

    assert (refused.value.code, refused.value.retryable) == ("queue_full", True)
    assert await enqueue(queue, tenant=tenant, id=kept[0].id) == kept[0]
    assert await enqueue(queue) is not None
    await queue.cancel(kept[0])
    assert await enqueue(queue, tenant=tenant) is not None


async def test_a_pipeline_that_is_full_refuses_everybody(queue, gates, tenant, scan):
    await gates.limit_pipeline(scan, max_queued=3)
    for owner in (1, tenant, 1):
        await enqueue(queue, tenant=owner, pipeline=scan)

    with pytest.raises(Failure, match="queue_full"):
        await enqueue(queue, tenant=tenant, pipeline=scan)


async def test_a_paused_tenant_begins_nothing_and_goes_on_where_it_was(queue, gates, tenant):
    before = await enqueue(queue, tenant=tenant)
    await gates.pause_tenant("acme", "ada", "too loud", None)
    after = await enqueue(queue, tenant=tenant)
    await queue.admit()
    assert await claim_all(queue) == []

    assert await gates.resume_tenant("acme")

    assert [lease.key for lease in await claim_all(queue)] == [before, after]
    assert not await gates.resume_tenant("acme")


async def test_a_paused_pipeline_is_passed_over_and_its_runs_go_on(queue, gates, scan):
    await enqueue(queue, pipeline=scan)
    [lease] = await queue.claim([scan], 1, WORKER, LEASE)
    await enqueue(queue, pipeline=scan)
    other = await enqueue(queue)

    await gates.pause_pipeline(scan, "ada", "a new model", None)

    assert [one.key for one in await claim_all(queue, scan, "noop")] == [other]
    assert lease.fence in await queue.complete([succeeded(lease)])
    await gates.resume_pipeline(scan)
    assert len(await claim_all(queue, scan)) == 1


async def test_a_pause_ends_by_itself(queue, gates, pool, tenant, scan):
    await gates.pause_tenant("acme", "ada", "a while", 60)
    await gates.pause_pipeline(scan, "ada", "a while", 60)
    await enqueue(queue, tenant=tenant)
    await enqueue(queue, pipeline=scan)
    assert len(await gates.pauses()) == 2
    await pool.execute("update pause set expires_at = now()")
    await queue.admit()

    assert len(await claim_all(queue, scan, "noop")) == 2
    assert await gates.pauses() == []


COMES_BACK = ("release", "retry", "rescue")


async def come_back(queue, verb, lease):
    """The run is over and the job is due at once."""
    match verb:
        case "release":
            assert await queue.release([HandedBack(fence=lease.fence, progress=0.0)])
        case "retry":
            assert await queue.retry(lease.fence, 0.0, ERROR)
        case _:
            assert await queue.rescue()


async def claim_for(queue, verb, pipeline="noop"):
    """A run that ends by this verb: one that is to be rescued has a lease that is over."""
    [lease] = await queue.claim([pipeline], 1, WORKER, -1.0 if verb == "rescue" else LEASE)
    return lease


@pytest.mark.parametrize("verb", COMES_BACK)
async def test_a_run_of_a_paused_tenant_that_comes_back_waits_for_the_end_of_the_pause(
    queue, gates, tenant, verb
):
    await enqueue(queue, tenant=tenant)
    lease = await claim_for(queue, verb)
    await gates.pause_tenant("acme", "ada", "too loud", None)

    await come_back(queue, verb, lease)
    await queue.admit()

    assert await claim_all(queue) == []
    await gates.resume_tenant("acme")
    assert [again.key for again in await claim_all(queue)] == [lease.key]


@pytest.mark.parametrize("verb", COMES_BACK)
async def test_a_run_of_a_paused_pipeline_that_comes_back_waits_for_the_end_of_the_pause(
    queue, gates, scan, verb
):
    await enqueue(queue, pipeline=scan)
    lease = await claim_for(queue, verb, scan)
    await gates.pause_pipeline(scan, "ada", "a new model", None)

    await come_back(queue, verb, lease)
    await queue.admit()

    assert await claim_all(queue, scan) == []
    await gates.resume_pipeline(scan)
    assert [again.key for again in await claim_all(queue, scan)] == [lease.key]


async def test_a_job_that_was_let_in_before_its_tenant_is_paused_is_not_claimed(queue, gates, tenant):
    await gates.limit_tenant("acme", max_running=3)
    keys = [await enqueue(queue, tenant=tenant) for _ in range(4)]
    await queue.admit()

    await gates.pause_tenant("acme", "ada", "too loud", None)

    assert await claim_all(queue) == []
    await gates.resume_tenant("acme")
    assert [lease.key for lease in await claim_all(queue)] == keys[:3]


async def test_nothing_of_a_tenant_is_claimed_as_soon_as_its_pause_is_there(queue, gates, pool, tenant):
    """Its jobs are held after that, one part after the other; whoever does it may die."""
    await enqueue(queue, tenant=tenant)
    later = await enqueue(queue, tenant=tenant)
    await queue.release([HandedBack(fence=(await claim(queue)).fence, progress=0.0, delay_seconds=60.0)])
    await pool.execute("update ready set run_at = now() where held = 'delay'")
    await pool.execute(
        "insert into pause (tenant_id, owner, reason) values ($1, 'ada', 'just now')", later.tenant
    )

    assert await claim_all(queue) == []


@pytest.mark.parametrize("verb", COMES_BACK)
async def test_a_paused_tenant_takes_no_room_of_its_pipeline_from_others(queue, gates, tenant, scan, verb):
    await gates.limit_pipeline(scan, max_running=2)
    for _ in range(3):
        await enqueue(queue, tenant=tenant, pipeline=scan)
    await queue.admit()
    lease = await claim_for(queue, verb, scan)
    await gates.pause_tenant("acme", "ada", "too loud", None)
    await come_back(queue, verb, lease)
    mine = [await enqueue(queue, pipeline=scan) for _ in range(2)]
    await queue.admit()

    assert [one.key for one in await claim_all(queue, scan)] == mine


async def test_a_pause_replaces_the_one_before(gates, tenant, scan):
    for reason in ("first", "second"):
        await gates.pause_tenant("acme", "ada", reason, None)
        await gates.pause_pipeline(scan, "ada", reason, None)

    assert [pause.reason for pause in await gates.pauses()] == ["second", "second"]


async def test_pauses_of_one_pipeline_that_come_at_once_are_one(gates, scan):
    await asyncio.gather(*(gates.pause_pipeline(scan, "ada", str(nth), None) for nth in range(8)))

    assert len(await gates.pauses()) == 1


async def test_pauses_tell_who_and_why(gates, tenant, scan):
    await gates.pause_tenant("acme", "ada", "too loud", None)
    await gates.pause_pipeline(scan, "scan", "the model is away", 60)

    first, second = await gates.pauses()

    assert (first.tenant, first.owner, first.reason, first.expires_at) == ("acme", "ada", "too loud", None)
    assert (second.pipeline, second.owner, second.expires_at is not None) == (scan, "scan", True)


async def test_an_enqueue_and_a_pause_at_once_leave_nothing_that_may_be_claimed(queue, gates, pool, tenant):
    queues = [JobQueue(pool) for _ in range(4)]

    async def flood(mine):
        for _ in range(10):
            await mine.enqueue(new_job(tenant=tenant))

    async with asyncio.TaskGroup() as group:
        for mine in queues:
            group.create_task(flood(mine))
        group.create_task(gates.pause_tenant("acme", "ada", "now", None))

    assert await claim_all(queue) == []


@pytest.mark.parametrize(
    "limits", [{"weight": 0}, {"max_running": 0}, {"max_queued": -1}, {"max_priority": 4}]
)
async def test_a_limit_out_of_range_is_refused(gates, tenant, limits):
    with pytest.raises(Failure, match="bad_request"):
        await gates.limit_tenant("acme", **limits)


async def test_unknown_names_are_refused(gates):
    with pytest.raises(Failure, match="no tenant nobody"):
        await gates.limit_tenant("nobody")
    with pytest.raises(Failure, match="pipeline_unknown"):
        await gates.limit_pipeline("nothing", max_running=1)
