"""Every verb of the queue over the real SQL: what it does, and what it refuses to do."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from safelight.errors import Failure
from safelight.jobs.job import Beat, HandedBack, Job
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import beginning
from safelight.jobs.states import REASONS, may_follow
from safelight.wire.key import JobKey
from support.jobs import ERROR, LEASE, WORKER, claim, enqueue, failed, new_job, running, succeeded
from support.machine.calls import Wire


async def state_of(queue: JobQueue, key: JobKey) -> tuple[str, str, str]:
    job = await queue.get(key)
    assert job is not None
    return job.state, job.reason, str(job.cursor)


async def story(queue: JobQueue, key: JobKey) -> list[str]:
    """The timeline, checked: without gaps, along the state machine, ending where the job is."""
    job: Job | None = await queue.get(key)
    assert job is not None
    events = await queue.timeline(job)
    before = None
    for number, event in enumerate(events, 1):
        assert event.cursor == (job.cursor.epoch, number, 0)
        assert event.reason in REASONS[event.state]
        assert may_follow(before, event.state)
        before = event.state
    assert events[-1].cursor == job.cursor.durable
    assert events[-1].state == job.state
    return [event.reason for event in events]


async def test_a_job_goes_from_queued_over_running_to_succeeded(queue):
    key = await enqueue(queue)
    assert await state_of(queue, key) == ("queued", "submitted", "1:1")

    lease = await claim(queue)
    assert (lease.key, lease.attempt, lease.lease_epoch) == (key, 1, 1)
    assert await state_of(queue, key) == ("running", "claimed", "1:2")

    recorded = await queue.complete([succeeded(lease)])
    assert recorded[lease.fence].cursor == (1, 3, 0)
    job = await queue.get(key)
    assert job is not None
    assert (job.state, job.progress, job.result) == ("succeeded", 100.0, {"a": 1})
    assert job.finished_at is not None
    assert await story(queue, key) == ["submitted", "claimed", "completed"]


async def test_a_failed_job_keeps_its_error_and_its_progress(queue):
    lease = await running(queue)

    await queue.complete([failed(lease, "image_damaged")])

    job = await queue.get(lease.key)
    assert job is not None
    assert job.error is not None
    assert (job.state, job.error.code, job.progress) == ("failed", "image_damaged", 40.0)


async def test_claims_take_the_oldest_first_and_never_more_than_asked(queue):
    keys = [await enqueue(queue) for _ in range(5)]

    leases = await queue.claim(["noop"], 3, WORKER, LEASE)

    assert [lease.key for lease in leases] == keys[:3]


async def test_a_pipeline_that_is_not_offered_is_not_claimed(queue):
    await enqueue(queue, pipeline="other")

    assert await queue.claim(["noop"], 5, WORKER, LEASE) == []


async def test_concurrent_claims_never_share_a_job(queue):
    keys = {await enqueue(queue) for _ in range(40)}

    batches = await asyncio.gather(*(queue.claim(["noop"], 10, uuid4(), LEASE) for _ in range(8)))

    claimed = [lease.key for batch in batches for lease in batch]
    assert len(claimed) == len(set(claimed))
    rest = await queue.claim(["noop"], 100, WORKER, LEASE)
    assert {*claimed, *(lease.key for lease in rest)} == keys


async def test_a_retry_waits_and_counts_the_attempt(queue):
    lease = await running(queue)

    change = await queue.retry(lease.fence, 60.0, ERROR)

    assert change is not None
    assert (change.state, change.reason) == ("queued", "retry")
    assert await queue.claim(["noop"], 5, WORKER, LEASE) == []
    assert await story(queue, lease.key) == ["submitted", "claimed", "retry"]


async def test_a_retry_that_is_due_runs_as_the_next_attempt_under_a_new_lease_epoch(queue):
    lease = await running(queue)
    await queue.retry(lease.fence, 0.0, ERROR, crash="killed by SIGSEGV")

    again = await claim(queue)

    assert (again.attempt, again.lease_epoch, again.crashes) == (2, 2, ["killed by SIGSEGV"])
    assert again.seq == lease.seq + 2


async def test_a_release_gives_the_attempt_back_but_not_the_lease_epoch(queue):
    lease = await running(queue)

    [change] = await queue.release([HandedBack(fence=lease.fence, progress=10.0)])
    again = await claim(queue)

    assert change.reason == "released"
    assert (again.attempt, again.lease_epoch) == (1, 2)
    assert await story(queue, lease.key) == ["submitted", "claimed", "released", "claimed"]


async def test_a_job_that_is_handed_back_for_later_waits(queue):
    now, later = await running(queue), await running(queue)

    changes = await queue.release(
        [
            HandedBack(fence=later.fence, progress=10.0, delay_seconds=60.0),
            HandedBack(fence=now.fence, progress=10.0),
        ]
    )

    assert {change.key for change in changes} == {now.key, later.key}
    assert [lease.key for lease in await queue.claim(["noop"], 5, WORKER, LEASE)] == [now.key]


async def test_a_lease_knows_how_often_its_incarnation_was_handed_back(queue):
    lease = await running(queue)
    counts = [lease.handed_back]
    for _ in range(2):
        await queue.release([HandedBack(fence=lease.fence, progress=0.0)])
        lease = await claim(queue)
        counts.append(lease.handed_back)
    await queue.retry(lease.fence, 0.0, ERROR)
    retried = await claim(queue)
    await queue.complete([failed(retried)])
    await queue.reopen(lease.key)

    assert counts == [0, 1, 2]
    assert (retried.handed_back, (await claim(queue)).handed_back) == (2, 0)


async def test_a_lease_that_expired_is_rescued_and_one_that_holds_is_not(queue):
    held = await running(queue)
    await enqueue(queue)
    expired = await claim(queue, lease_seconds=0.001)
    await asyncio.sleep(0.01)

    changes = await queue.rescue()

    assert [change.key for change in changes] == [expired.key]
    assert (await state_of(queue, held.key))[0] == "running"
    assert await story(queue, expired.key) == ["submitted", "claimed", "rescued"]


async def test_a_job_that_is_rescued_too_often_fails_with_a_code(queue):
    key = await enqueue(queue, max_attempts=2)
    for _ in range(2):
        await claim(queue, lease_seconds=0.001)
        await asyncio.sleep(0.01)
        await queue.rescue()

    job = await queue.get(key)

    assert job is not None
    assert job.error is not None
    assert (job.state, job.reason, job.error.code) == ("failed", "exhausted", "attempts_exhausted")
    assert await story(queue, key) == ["submitted", "claimed", "rescued", "claimed", "exhausted"]


async def test_a_heartbeat_renews_and_carries_progress(queue):
    lease = await running(queue)
    beat = Beat(fence=lease.fence, progress=42.5, progress_n=7, stage="noise", status="looking")

    assert await queue.heartbeat([beat], LEASE) == {lease.fence: False}

    job = await queue.get(lease.key)
    assert job is not None
    assert (job.progress, job.stage, job.status, str(job.cursor)) == (42.5, "noise", "looking", "1:2.7")


async def test_a_waiting_job_is_canceled_at_once(queue):
    key = await enqueue(queue)

    change = await queue.cancel(key)

    assert change is not None
    assert change.state == "canceled"
    assert await queue.claim(["noop"], 5, WORKER, LEASE) == []
    assert await story(queue, key) == ["submitted", "canceled"]


async def test_a_running_job_is_asked_and_its_heartbeat_hears_it(queue):
    lease = await running(queue)

    change = await queue.cancel(lease.key)

    assert change is not None
    assert (change.state, change.cancel_requested) == ("running", True)
    beat = Beat(fence=lease.fence, progress=0, progress_n=0, stage=None, status=None)
    assert await queue.heartbeat([beat], LEASE) == {lease.fence: True}


async def test_a_job_whose_cancel_was_accepted_never_succeeds(queue):
    lease = await running(queue)
    await queue.cancel(lease.key)

    recorded = await queue.complete([succeeded(lease)])

    assert recorded[lease.fence].state == "canceled"
    job = await queue.get(lease.key)
    assert job is not None
    assert (job.state, job.result, job.outputs, job.error) == ("canceled", None, [], None)


@pytest.mark.parametrize("verb", ["retry", "release", "rescue"])
async def test_a_canceled_run_that_comes_back_to_the_queue_ends_there(queue, verb):
    key = await enqueue(queue)
    lease = await claim(queue, lease_seconds=0.001 if verb == "rescue" else LEASE)
    await queue.cancel(key)
    await asyncio.sleep(0.01)

    if verb == "retry":
        await queue.retry(lease.fence, 0.0, ERROR)
    elif verb == "release":
        await queue.release([HandedBack(fence=lease.fence, progress=10.0)])
    else:
        await queue.rescue()

    assert (await state_of(queue, key))[0] == "canceled"
    assert await queue.claim(["noop"], 5, WORKER, LEASE) == []


@pytest.mark.parametrize("verb", ["retry", "release"])
async def test_a_canceled_run_ends_its_job_although_nobody_hears_that_it_came_back(queue, pool, verb):
    """The processor dies, or the answer is lost: what is written then is all that will ever be written."""
    lease = await running(queue)
    await queue.cancel(lease.key)
    wire = Wire(pool)
    wire.deaf = True
    deaf = JobQueue(wire)
    handed_back = HandedBack(fence=lease.fence, progress=10.0)

    with pytest.raises(Failure):
        await (deaf.retry(lease.fence, 0.0, ERROR) if verb == "retry" else deaf.release([handed_back]))

    assert await state_of(queue, lease.key) == ("canceled", "canceled", "1:3")


async def test_what_has_ended_cannot_be_canceled(queue):
    lease = await running(queue)
    await queue.complete([succeeded(lease)])

    assert await queue.cancel(lease.key) is None


async def test_cancel_wins_or_loses_against_claim_but_is_never_lost(queue):
    for _ in range(20):
        key = await enqueue(queue)
        change, leases = await asyncio.gather(queue.cancel(key), queue.claim(["noop"], 1, WORKER, LEASE))
        assert change is not None
        for lease in leases:
            await queue.complete([succeeded(lease)])
        assert (await state_of(queue, key))[0] == "canceled"


async def test_a_reopened_job_is_the_next_incarnation_and_its_lease_epoch_goes_on(queue):
    lease = await running(queue)
    await queue.complete([failed(lease)])

    change = await queue.reopen(lease.key)
    again = await claim(queue)

    assert change is not None
    assert (change.cursor, again.epoch, again.attempt) == ((2, 1, 0), 2, 1)
    assert again.lease_epoch == lease.lease_epoch + 1
    await queue.complete([succeeded(again)])
    assert await story(queue, lease.key) == ["reopened", "claimed", "completed"]


async def test_a_job_that_succeeded_or_lives_is_not_reopened(queue):
    lease = await running(queue)
    assert await queue.reopen(lease.key) is None
    await queue.complete([succeeded(lease)])

    assert await queue.reopen(lease.key) is None


async def test_of_many_who_reopen_a_job_one_does(queue):
    lease = await running(queue)
    await queue.complete([failed(lease)])

    changes = await asyncio.gather(*(queue.reopen(lease.key) for _ in range(5)))

    assert sum(change is not None for change in changes) == 1


async def test_however_often_a_job_is_canceled_and_reopened_at_once_no_incarnation_is_begun_twice(
    queue, pool
):
    key = await enqueue(queue)
    for _ in range(15):
        await asyncio.gather(*(act(key) for act in (queue.cancel, queue.reopen) * 10))
        rows = await pool.fetch(
            "select epoch from done where job_id = $1 union all select epoch from ready where job_id = $1",
            key.id,
        )
        epochs = sorted(row["epoch"] for row in rows)
        assert epochs == list(range(1, len(epochs) + 1))

    await queue.cancel(key)
    await queue.reopen(key)
    lease = await claim(queue)
    assert lease.fence in await queue.complete([succeeded(lease)])


async def test_a_repeat_under_one_idempotency_key_is_one_job(queue):
    jobs = [new_job(idempotency_key="once") for _ in range(20)]

    answers = await asyncio.gather(*(queue.enqueue(job) for job in jobs))

    assert len({found for found, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1


@pytest.mark.parametrize(
    ("same", "code"),
    [({"id": UUID(int=9)}, "id_taken"), ({"idempotency_key": "k"}, "idempotency_key_reused")],
    ids=["id", "idempotency key"],
)
async def test_another_request_under_a_used_name_is_refused(queue, same, code):
    await enqueue(queue, fingerprint=b"one", **same)

    with pytest.raises(Failure) as caught:
        await enqueue(queue, fingerprint=b"two", **same)

    assert caught.value.code == code


async def test_a_repeat_of_a_job_that_is_forgotten_meanwhile_is_no_repeat(queue, pool, retention):
    key = await enqueue(queue)
    await queue.cancel(key)
    wire = Wire(pool)

    async def forget() -> None:
        page = await retention.prune(beginning(), await retention.cutoff(0.0), by_row=True)
        assert len(page.forgotten) == 1

    wire.meanwhile = forget

    assert await JobQueue(wire).enqueue(new_job(id=key.id)) == (key.id, True)
    assert (await state_of(queue, key))[0] == "queued"


async def test_tenants_are_strangers(queue):
    mine = await enqueue(queue, tenant=1, idempotency_key="k")
    theirs = await enqueue(queue, tenant=2, id=mine.id, idempotency_key="k", fingerprint=b"other")

    await queue.cancel(theirs)

    assert (await state_of(queue, mine))[0] == "queued"
    assert [job.key for job in await queue.list(1)] == [mine]
    assert await queue.get(JobKey(3, mine.id)) is None


async def test_the_list_is_newest_first_in_pages_and_by_state(queue):
    keys = [await enqueue(queue) for _ in range(5)]
    lease = await claim(queue)

    first = await queue.list(1, limit=2)
    last = first[-1]
    second = await queue.list(1, limit=10, before=(last.created_at, last.key.id))

    assert [job.key for job in [*first, *second]] == keys[::-1]
    assert [job.key for job in await queue.list(1, state="running")] == [lease.key]
    assert await queue.list(1, pipeline="other") == []


async def test_tops_tell_the_newest_cursor_wherever_a_job_is(queue):
    lease = await running(queue)
    await queue.complete([succeeded(lease)])
    waiting = await enqueue(queue)
    unknown = JobKey(1, uuid4())

    assert await queue.tops([lease.key, waiting, unknown]) == {lease.key: (1, 3, 0), waiting: (1, 1, 0)}


async def test_depth_counts_what_waits_and_what_runs(queue):
    await running(queue)
    await enqueue(queue)
    await enqueue(queue)

    found = {(depth.pipeline, depth.state): depth.jobs for depth in await queue.depth()}

    assert found == {("noop", "queued"): 2, ("noop", "running"): 1}


async def test_the_schema_refuses_impossible_rows(queue, pool):
    lease = await running(queue)

    with pytest.raises(asyncpg.CheckViolationError, match="running_has_a_lease"):
        await pool.execute("update ready set lease_expires_at = null where job_id = $1", lease.id)


async def test_an_outage_is_one_typed_failure(queue, pool):
    await pool.close()

    with pytest.raises(Failure) as caught:
        await queue.depth()

    assert caught.value.code == "unavailable"


@pytest.mark.parametrize("verb", ["retry", "release"])
async def test_a_run_that_is_given_up_after_its_cancel_was_accepted_ends_as_canceled_at_once(queue, verb):
    """In the same statement: who dies after it must not leave a job that waits for nobody."""
    lease = await running(queue)
    await queue.cancel(lease.key)

    if verb == "retry":
        change = await queue.retry(lease.fence, 60.0, ERROR, progress=30.0)
    else:
        [change] = await queue.release([HandedBack(fence=lease.fence, progress=30.0, delay_seconds=60.0)])

    assert change is not None
    assert (change.state, change.reason, change.progress) == ("canceled", "canceled", 30.0)
    assert await story(queue, lease.key) == ["submitted", "claimed", "canceled"]
    assert await queue.release([HandedBack(fence=lease.fence, progress=30.0)]) == []


async def test_a_retry_after_the_last_attempt_ends_the_job_and_claims_go_on(queue):
    """Whoever asks for it may not know how many attempts there are."""
    lease = await running(queue, max_attempts=1)

    change = await queue.retry(lease.fence, 0.0, ERROR, progress=30.0)
    other = await enqueue(queue)

    assert change is not None
    assert (change.state, change.reason, change.attempt, change.progress) == ("failed", "exhausted", 1, 30.0)
    assert [lease.key for lease in await queue.claim(["noop"], 5, WORKER, LEASE)] == [other]
    job = await queue.get(lease.key)
    assert job is not None
    assert job.error == ERROR
    assert await story(queue, lease.key) == ["submitted", "claimed", "exhausted"]


async def test_a_cancel_beats_a_retry_after_the_last_attempt(queue):
    lease = await running(queue, max_attempts=1)
    await queue.cancel(lease.key)

    change = await queue.retry(lease.fence, 0.0, ERROR)

    assert change is not None
    assert (change.state, change.reason) == ("canceled", "canceled")
    assert (await queue.get(lease.key)).error is None


@pytest.mark.parametrize("end", ["failed", "exhausted", "canceled"])
async def test_a_job_that_is_reopened_after_its_last_attempt_has_all_of_them_again(queue, end):
    lease = await running(queue, max_attempts=2)
    await queue.retry(lease.fence, 0.0, ERROR)
    lease = await claim(queue)
    if end == "failed":
        await queue.complete([failed(lease)])
    elif end == "exhausted":
        await queue.retry(lease.fence, 0.0, ERROR)
    else:
        await queue.cancel(lease.key)
        await queue.release([HandedBack(fence=lease.fence, progress=0.0)])

    await queue.reopen(lease.key)

    for attempt in (1, 2):
        lease = await claim(queue)
        assert lease.attempt == attempt
        await queue.retry(lease.fence, 0.0, ERROR)
    assert await state_of(queue, lease.key) == ("failed", "exhausted", "2:5")
