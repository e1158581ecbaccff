"""Jobs whose time is over, over the real SQL: forgotten whole, once, and never one that somebody has."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from safelight.errors import Failure
from safelight.jobs.job import NewJob, StoredFile
from safelight.jobs.queue import _SQL
from safelight.jobs.retention import Retention, beginning
from safelight.wire.key import JobKey
from support.history import DAY, WEEK, backdate, done, ended, make_day, prune_all
from support.jobs import ERROR, LEASE, WORKER, claim, enqueue, failed, new_job, running, succeeded


async def rows_of(pool, key):
    """In how many rows of each table a job stands."""
    return {
        table: await pool.fetchval(f"select count(*) from {table} where {column} = $1", key.id)
        for table, column in (
            ("job", "id"),
            ("ready", "job_id"),
            ("done", "job_id"),
            ("attempt", "job_id"),
            ("forgotten", "id"),
        )
    }


GONE = {"job": 0, "ready": 0, "done": 0, "attempt": 0, "forgotten": 1}


async def test_of_a_forgotten_job_nothing_is_left_but_that_there_was_one(queue, pool, retention):
    lease = await running(queue)
    await queue.retry(lease.fence, 0.0, ERROR)
    again = await claim(queue)
    await queue.complete([succeeded(again)])
    await backdate(pool, [lease.key], 8)

    await prune_all(retention)

    assert await rows_of(pool, lease.key) == GONE
    assert await queue.get(lease.key) is None


async def test_jobs_that_live_or_ended_lately_are_kept(queue, pool, retention):
    old = await ended(queue, pool, 7.01)
    young = await ended(queue, pool, 6.99)
    live = await running(queue)
    waits = await enqueue(queue)

    await prune_all(retention)

    assert await queue.get(old) is None
    for key in (young, live.key, waits):
        assert await queue.get(key) is not None


async def test_an_end_may_stay_for_its_day_to_be_dropped_and_nobody_sees_it(queue, pool, retention):
    await make_day(pool, 10)
    key = await ended(queue, pool, 10)

    await prune_all(retention, by_row=False)

    assert await rows_of(pool, key) == {**GONE, "done": 1}
    assert await queue.get(key) is None
    assert await queue.list(key.tenant) == []
    assert await queue.reopen(key) is None


async def test_ends_that_are_in_no_day_are_deleted_in_any_case(queue, pool, retention):
    key = await ended(queue, pool, 30)  # there is no such day, so it lies in done_unplaced

    await prune_all(retention, by_row=False)

    assert await rows_of(pool, key) == GONE


@pytest.mark.parametrize("then", ["waits", "runs", "ended again"])
async def test_a_job_that_was_reopened_stays_whole(queue, pool, retention, then):
    lease = await running(queue)
    await queue.retry(lease.fence, 0.0, ERROR)
    await queue.complete([failed(await claim(queue))])
    await backdate(pool, [lease.key], 30)
    await queue.reopen(lease.key)
    if then != "waits":
        again = await claim(queue)
        if then == "ended again":
            await queue.complete([failed(again)])
    before = await rows_of(pool, lease.key)

    assert await prune_all(retention) == []

    assert await rows_of(pool, lease.key) == before
    job = await queue.get(lease.key)
    assert job is not None
    assert job.cursor.epoch == 2


async def test_a_job_that_was_reopened_is_forgotten_when_its_newest_end_is_old(queue, pool, retention):
    lease = await running(queue)
    await queue.complete([failed(lease)])
    await backdate(pool, [lease.key], 30)
    await queue.reopen(lease.key)
    await queue.complete([failed(await claim(queue))])
    await pool.execute("update done set finished_at = finished_at - interval '8 days' where epoch = 2")

    await prune_all(retention)

    assert await rows_of(pool, lease.key) == GONE


async def test_jobs_that_were_reopened_do_not_hide_younger_ones_from_being_forgotten(queue, pool, retention):
    reopened = await running(queue)
    await queue.complete([failed(reopened)])
    await backdate(pool, [reopened.key], 30)
    await queue.reopen(reopened.key)
    await claim(queue)
    old = await ended(queue, pool, 20)

    await prune_all(retention, limit=1)

    assert await queue.get(old) is None
    assert await queue.get(reopened.key) is not None


async def test_a_job_that_is_reopened_while_it_is_forgotten_is_either_there_whole_or_gone_whole(
    queue, pool, retention
):
    for _ in range(15):
        key = await ended(queue, pool)
        change, *_ = await asyncio.gather(queue.reopen(key), *(prune_all(retention) for _ in range(3)))

        job = await queue.get(key)
        waits = await pool.fetchval("select count(*) from ready where job_id = $1", key.id)
        assert (job is not None, waits) == ((True, 1) if change else (False, 0))
        await queue.cancel(key)


async def test_a_job_that_somebody_has_at_that_moment_is_left_and_found_the_next_time(queue, pool, retention):
    held, free = await ended(queue, pool, 20), await ended(queue, pool, 10)
    before = await retention.cutoff(WEEK)

    async with pool.acquire() as connection, connection.transaction():
        await connection.fetch(_SQL["lock_job"], *held)
        page = await retention.prune(beginning(), before, by_row=True)

    assert (len(page.forgotten), page.whole) == (1, False)
    assert await queue.get(free) is None
    assert await queue.get(held) is not None
    page = await retention.prune(beginning(), before, by_row=True)
    assert (len(page.forgotten), page.whole) == (1, True)


async def test_a_job_that_is_reopened_between_two_steps_is_not_forgotten(queue, pool, retention):
    """Its end was seen as old; then it is taken up again; then its turn comes."""
    key = await ended(queue, pool)

    async with pool.acquire() as connection, connection.transaction():
        await queue.reopen(key)
        rows = await connection.fetch(
            _SQL["prune"], [key.tenant], [key.id], await retention.cutoff(WEEK), True
        )

    assert rows == []
    assert await queue.get(key) is not None


async def test_pages_go_through_every_end_once_also_where_many_ended_at_once(queue, pool, retention):
    keys = [await enqueue(queue) for _ in range(7)]
    await queue.complete([failed(lease) for lease in await queue.claim(["noop"], 7, WORKER, LEASE)])
    await backdate(pool, keys, 30)

    forgotten = await prune_all(retention, limit=2)

    assert len(forgotten) == 7
    assert [await queue.get(key) for key in keys] == [None] * 7


async def test_who_goes_through_it_at_once_with_others_forgets_nothing_twice(queue, pool, retention):
    keys = {await ended(queue, pool) for _ in range(60)}

    forgotten = await asyncio.gather(*(prune_all(Retention(pool), limit=5) for _ in range(4)))
    rest = await prune_all(retention)  # what each had left to another

    ids = [one.id for walk in (*forgotten, rest) for one in walk]
    assert len(ids) == len(set(ids)) == len(keys)
    assert await pool.fetchval("select count(*) from forgotten") == len(keys)
    assert await pool.fetchval("select count(*) from job") == 0


async def test_thousands_of_old_jobs_among_more_live_ones_are_each_looked_at_once(database, pool, queue):
    live = 20_000
    old = 5_000
    for _ in range(0, live + old, 1000):
        await queue.enqueue_many([new_job() for _ in range(1000)])
    for _ in range(0, old, 500):
        await queue.complete([succeeded(lease) for lease in await queue.claim(["noop"], 500, WORKER, LEASE)])
    await pool.execute("update done set finished_at = finished_at - interval '30 days'")
    await pool.execute("vacuum analyze")
    said = []
    counted = await asyncpg.create_pool(
        database, min_size=1, max_size=1, setup=lambda one: _log_queries(one, said)
    )
    reads = await _reads(pool)

    forgotten = await prune_all(Retention(counted), limit=500)

    await counted.close()
    pages = old // 500 + 1
    assert len(forgotten) == old
    ours = [query for query in said if query in _SQL.values()]
    assert len(ours) <= 1 + pages * 2
    read = {table: count - reads[table] for table, count in (await _reads(pool)).items()}
    assert read["ready"] <= 3 * old, read  # by its key, once for each end, and never all of it
    assert read["job"] <= 10 * old, read
    assert await pool.fetchval("select count(*) from job") == live


async def _log_queries(connection, said):
    connection._query_loggers.clear()
    connection.add_query_logger(lambda record: said.append(record.query))


async def _reads(pool):
    """Rows that were read of each table so far, by scan or by index."""
    await pool.execute("select pg_stat_force_next_flush()")
    return {
        row["relname"]: row["rows"]
        for row in await pool.fetch(
            "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as rows from pg_stat_user_tables"
        )
    }


# What is remembered


async def test_a_forgotten_job_is_remembered_for_its_own_tenant_only(queue, pool, retention):
    key = await ended(queue, pool)
    assert await queue.forgotten(key) is None

    await prune_all(retention)

    found = await queue.forgotten(key)
    assert found is not None
    assert found.reason == "retention"
    assert await queue.forgotten(JobKey(key.tenant + 1, key.id)) is None


def named(key: JobKey) -> NewJob:
    return new_job(tenant=key.tenant, id=key.id, named=True)


async def test_the_id_of_a_forgotten_job_is_not_taken_again(queue, pool, retention):
    key = await ended(queue, pool)
    await prune_all(retention)

    with pytest.raises(Failure) as caught:
        await queue.enqueue(named(key))

    assert caught.value.code == "job_expired"
    assert await rows_of(pool, key) == GONE
    assert await queue.claim(["noop"], 5, WORKER, LEASE) == []
    assert await queue.enqueue(named(JobKey(key.tenant + 1, key.id))) == (key.id, True)


async def test_others_in_the_same_statement_are_accepted(queue, pool, retention):
    key = await ended(queue, pool)
    await prune_all(retention)
    fresh = new_job(named=True)

    first, second = await queue.enqueue_many([named(key), fresh])

    assert (first.created, first.expired) == (False, True)
    assert (second.created, second.expired, second.id) == (True, False, fresh.id)
    assert len(await queue.claim(["noop"], 5, WORKER, LEASE)) == 1


async def test_an_id_that_comes_in_while_its_job_is_being_forgotten_is_refused_too(queue, pool, retention):
    key = await ended(queue, pool)
    before = await retention.cutoff(WEEK)

    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(_SQL["prune"], [key.tenant], [key.id], before, True)
        asked = asyncio.create_task(queue.enqueue(named(key)))
        await _until_one_waits(pool)
        await transaction.commit()

    with pytest.raises(Failure) as caught:
        await asked
    assert caught.value.code == "job_expired"
    assert await rows_of(pool, key) == GONE


async def _until_one_waits(pool):
    async with asyncio.timeout(20):
        while not await pool.fetchval("select exists (select from pg_locks where not granted)"):
            await asyncio.sleep(0.01)


async def test_an_idempotency_key_is_forgotten_with_its_job(queue, pool, retention):
    await ended(queue, pool, idempotency_key="once")
    await prune_all(retention)
    again = new_job(idempotency_key="once", fingerprint=b"another")

    assert await queue.enqueue(again) == (again.id, True)


async def test_ids_are_remembered_by_the_month_and_dropped_after_their_time(queue, pool, retention):
    await pool.execute(
        "create table forgotten_202001 partition of forgotten "
        "for values from ('2020-01-01 00:00+00') to ('2020-02-01 00:00+00')"
    )
    key = JobKey(1, UUID(int=5))
    await pool.execute("insert into forgotten values ('2020-01-15 00:00+00', 1, $1, 'retention')", key.id)
    assert await queue.forgotten(key) is not None

    assert await retention.drop_months(100 * 365 * DAY) == []
    assert await retention.drop_months(90 * DAY) == ["forgotten_202001"]

    assert await queue.forgotten(key) is None
    assert await queue.enqueue(named(key)) == (key.id, True)


# What is left of a job


def file(key: str) -> StoredFile:
    return StoredFile(name="a.jpg", key=key, media_type="image/jpeg", bytes=1, width=1, height=1, sha256="00")


async def test_the_keys_of_a_forgotten_job_are_written_down_until_they_are_cleared(queue, pool, retention):
    new = new_job()
    mine, theirs = f"{new.id}/in/ab/0", "somebody/else/0"
    await done(queue, pool, id=new.id, inputs=[file(mine), file(theirs)])

    [left] = await prune_all(retention)

    assert (left.tenant, left.keys) == (1, [mine, f"{new.id}/out"])
    assert await retention.debris(3600.0) == []
    assert await retention.debris(-1.0) == [left]
    await retention.clear([left])
    assert await retention.debris(-1.0) == []


# Batches


async def test_a_batch_is_forgotten_when_its_jobs_are(queue, pool, retention):
    old, open_, young, full = (UUID(int=number) for number in range(1, 5))
    await pool.execute(
        "insert into batch (tenant_id, id, size, created_at, ended_at) values "
        "(1, $1, 1, now() - interval '9 days', now() - interval '8 days'), "
        "(1, $2, 5, now() - interval '9 days', null), "
        "(1, $3, 1, now() - interval '9 days', now() - interval '1 day'), "
        "(1, $4, 1, now() - interval '9 days', now() - interval '8 days')",
        *(old, open_, young, full),
    )
    await enqueue(queue, batch=full)

    assert await retention.prune_batches(await retention.cutoff(WEEK)) == 2

    left = await pool.fetch("select id from batch order by id")
    assert [row["id"] for row in left] == [young, full]
