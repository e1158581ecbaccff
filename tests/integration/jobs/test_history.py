"""Days of history, over the real SQL: there before they are needed, dropped whole, and in nobody's way."""

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest

from safelight.errors import Failure
from safelight.jobs.queue import _SQL
from safelight.jobs.retention import DAYS_AHEAD, Retention
from support.history import DAY, WEEK, backdate, days, done, ended, make_day, prune_all
from support.jobs import claim, failed, running, succeeded
from support.pgbouncer import pgbouncer
from support.requires import requires


@asynccontextmanager
async def reader(database):
    """Somebody reads all of history, and takes their time; answers what is asked of them."""
    connection = await asyncpg.connect(database)
    await connection.execute("begin; select count(*) from done")
    try:
        yield connection
    finally:
        await connection.close()


async def until_one_waits(pool):
    async with asyncio.timeout(20):
        while not await pool.fetchval(
            "select exists (select from pg_locks where not granted and relation = 'done'::regclass)"
        ):
            await asyncio.sleep(0.001)


# To come


async def test_days_are_made_ahead_once_whoever_makes_them(pool, retention):
    for name in (await days(pool))[1:]:
        await pool.execute(f"drop table {name}")

    ahead = await asyncio.gather(*(Retention(pool).make_partitions() for _ in range(5)))
    ahead.append(await retention.make_partitions())  # of those at once, one may have had no time to wait

    assert ahead[-1] // DAY == DAYS_AHEAD
    assert len(await days(pool)) == DAYS_AHEAD + 1
    assert (
        await pool.fetchval("select count(*) from pg_inherits where inhparent = 'forgotten'::regclass") == 2
    )


async def test_an_end_lies_in_the_day_on_which_it_was(queue, pool):
    lease = await running(queue)
    await queue.complete([succeeded(lease)])

    name = await pool.fetchval("select tableoid::regclass::text from done where job_id = $1", lease.id)

    assert name == await pool.fetchval("select 'done_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')")


async def test_what_is_done_with_partitions_leaves_nothing_in_a_session(queue, pool, database):
    """So it works where a session is somebody else's in the next moment, as behind PgBouncer."""
    await make_day(pool, 20)
    one = await asyncpg.create_pool(database, min_size=1, max_size=1)
    await Retention(one).make_partitions()  # the first use of plpgsql brings settings of its own
    before = await one.fetch("select name, setting from pg_settings order by name")

    await Retention(one).make_partitions()
    await Retention(one).drop_days(await Retention(one).cutoff(WEEK))
    await Retention(one).drop_months(1.0)

    assert await one.fetch("select name, setting from pg_settings order by name") == before
    assert await one.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    await one.close()


@requires("pgbouncer")
async def test_days_are_made_and_dropped_through_pgbouncer(pool, postgres, database):
    name = await make_day(pool, 9)
    await pool.execute(f"drop table {(await days(pool))[-1]}")

    # In one session, so that what is left in it shows.
    with pgbouncer(postgres, sessions=1) as server:
        address = server.dsn(await pool.fetchval("select current_database()"))
        through = await asyncpg.create_pool(address, min_size=1, max_size=3, statement_cache_size=0)
        retention = Retention(through)
        assert await retention.make_partitions() // DAY == DAYS_AHEAD
        assert await retention.drop_days(await retention.cutoff(WEEK)) == [name]
        assert await through.fetchval("show lock_timeout") == "0"
        await through.close()


async def test_a_day_that_cannot_be_made_as_somebody_reads_is_made_the_next_time(
    queue, pool, database, retention
):
    await pool.execute(f"drop table {(await days(pool))[-1]}")
    lease = await running(queue)

    async with reader(database):
        assert await retention.make_partitions() // DAY == DAYS_AHEAD - 1
        await queue.complete([succeeded(lease)])

    assert await retention.make_partitions() // DAY == DAYS_AHEAD


async def test_a_day_that_nobody_made_is_no_reason_to_refuse_an_end(queue, pool, retention):
    for name in await days(pool):
        await pool.execute(f"drop table {name}")
    lease = await running(queue)

    await queue.complete([succeeded(lease)])

    assert await pool.fetchval("select count(*) from done_unplaced") == 1
    assert await retention.make_partitions() // DAY == DAYS_AHEAD + 1  # from tomorrow on


async def test_without_a_month_to_remember_in_nothing_is_forgotten(queue, pool, retention):
    key = await ended(queue, pool)
    for row in await pool.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'forgotten'::regclass"
    ):
        await pool.execute(f"drop table {row['name']}")

    with pytest.raises(Failure):
        await prune_all(retention)

    assert await queue.get(key) is not None
    await retention.make_partitions()
    assert len(await prune_all(retention)) == 1


# Over


async def test_a_day_of_which_all_is_forgotten_is_dropped(queue, pool, retention):
    old, young = await make_day(pool, 9), await make_day(pool, 3)
    gone = await ended(queue, pool, 9)
    kept = await ended(queue, pool, 3)
    await prune_all(retention, by_row=False)
    assert await pool.fetchval(f"select count(*) from {old}") == 1

    assert await retention.drop_days(await retention.cutoff(WEEK)) == [old]

    assert old not in await days(pool)
    assert young in await days(pool)
    assert await pool.fetchval("select count(*) from done where job_id = $1", gone.id) == 0
    assert await queue.get(kept) is not None


async def test_a_day_is_not_dropped_before_its_last_moment_is_old(queue, pool, retention):
    name = await make_day(pool, 7)  # of which a part is older than a week, at most times of the day

    assert await retention.drop_days(await retention.cutoff(WEEK)) == []

    assert name in await days(pool)


async def test_ends_that_were_followed_by_another_outlive_their_day(queue, pool, retention):
    await make_day(pool, 9)
    lease = await running(queue)
    await queue.complete([failed(lease)])
    await backdate(pool, [lease.key], 9)
    await queue.reopen(lease.key)
    again = await claim(queue)
    await prune_all(retention, by_row=False)

    assert len(await retention.drop_days(await retention.cutoff(WEEK))) == 1

    assert await pool.fetchval("select count(*) from done_unplaced where job_id = $1", lease.id) == 1
    await queue.complete([succeeded(again)])
    job = await queue.get(lease.key)
    assert job is not None
    assert (job.state, job.cursor.epoch) == ("succeeded", 2)


async def test_an_end_that_was_not_gone_through_is_not_lost_with_its_day(queue, pool, retention):
    """Nobody should drop a day then; should they, all is as it was."""
    await make_day(pool, 9)
    lease = await done(queue, pool, 9)
    before = await queue.get(lease.key)

    assert len(await retention.drop_days(await retention.cutoff(WEEK))) == 1

    assert await queue.get(lease.key) == before
    assert len(await prune_all(retention, by_row=False)) == 1


@pytest.mark.parametrize("steps", [1, 2], ids=["taken out", "gone through"])
async def test_a_day_whose_pruner_died_is_dropped_by_the_next(queue, pool, retention, steps):
    name = await make_day(pool, 9)
    lease = await running(queue)
    await queue.complete([failed(lease)])
    await backdate(pool, [lease.key], 9)
    await queue.reopen(lease.key)
    assert await pool.fetchval(_SQL["detach_day"], await retention.cutoff(WEEK)) == name
    if steps == 2:
        assert await pool.fetchval(_SQL["keep_known"], name, 0) is None

    assert await Retention(pool).drop_days(await retention.cutoff(WEEK)) == [name]

    assert name not in await days(pool)
    assert await pool.fetchval("select count(*) from done where job_id = $1", lease.id) == 1


async def test_a_day_is_gone_through_to_its_last_block(queue, pool, retention):
    name = await make_day(pool, 9)
    first, lease = await running(queue), await running(queue)
    await queue.complete([failed(first), failed(lease)])
    await backdate(pool, [first.key], 9)
    columns = "pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, finished_at, progress"
    await pool.execute(
        f"insert into {name} (tenant_id, job_id, {columns}, error) "
        f"select tenant_id, gen_random_uuid(), {columns}, to_jsonb(repeat('x', 1000)) "
        f"from {name}, generate_series(1, 4000)"
    )
    await backdate(pool, [lease.key], 9)
    block = await pool.fetchval(f"select (ctid::text::point)[0] from {name} where job_id = $1", lease.id)
    assert block > 400

    await retention.drop_days(await retention.cutoff(WEEK))

    assert await pool.fetchval("select count(*) from done") == 2
    assert await queue.get(lease.key) is not None


async def test_days_are_dropped_once_whoever_drops_them(queue, pool, retention):
    names = [await make_day(pool, 20 - number) for number in range(4)]
    before = await retention.cutoff(WEEK)

    dropped = await asyncio.gather(*(Retention(pool).drop_days(before) for _ in range(4)))
    dropped.append(await retention.drop_days(before))

    assert sorted(name for some in dropped for name in some) == sorted(names)
    assert len(await days(pool)) == DAYS_AHEAD + 1


async def test_a_day_that_is_part_of_history_cannot_be_dropped(pool):
    name = await make_day(pool, 9)

    assert await pool.fetchval(_SQL["drop_day"], name) is False

    assert name in await days(pool)


async def test_who_reads_history_for_long_keeps_a_day_from_being_dropped_and_nothing_else(
    queue, pool, database, retention
):
    name = await make_day(pool, 9)
    leases = [await running(queue) for _ in range(5)]
    before = await retention.cutoff(WEEK)

    async with reader(database):
        for lease in leases:
            dropping = asyncio.create_task(retention.drop_days(before))
            await until_one_waits(pool)
            # This queues behind who wants the table for itself, who queues behind the reader, and gives up.
            assert await queue.complete([succeeded(lease)])
            assert await queue.get(lease.key) is not None
            assert await dropping == []
        assert name in await days(pool)

    assert await retention.drop_days(before) == [name]
