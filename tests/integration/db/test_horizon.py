"""What holds back vacuum, as an ordinary user of the database sees it."""

import asyncpg
import pytest

from safelight.db.horizon import Watch
from safelight.jobs.queue import JobQueue
from support.jobs import new_job

SNAPSHOT = "begin isolation level repeatable read; select count(*) from job"


@pytest.fixture
async def watch(postgres, pool, database):
    """Of a user who may read the tables and nothing else."""
    await pool.execute(
        "do $$ begin create role plain login; exception when duplicate_object then null; end $$; "
        "grant select on all tables in schema public to plain"
    )
    plain = await asyncpg.create_pool(database, user="plain", min_size=1, max_size=1)
    yield Watch(plain)
    await plain.close()
    await pool.execute("drop owned by plain; drop role plain")


@pytest.fixture
async def other(database):
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def pass_time(pool):
    """Transactions that others have begun meanwhile."""
    for _ in range(5):
        await pool.execute("update sweep set key = key")


async def test_where_nobody_holds_anything_the_horizon_is_near(watch, pool):
    await pass_time(pool)

    horizon = await watch.look()

    assert (horizon.seconds, horizon.transactions, horizon.holder) == (0.0, 0, None)


async def test_a_snapshot_of_another_user_is_seen_and_its_age_told_in_transactions(watch, pool, other):
    await other.execute(SNAPSHOT)
    await pass_time(pool)

    horizon = await watch.look()

    assert horizon.transactions == 5
    assert horizon.holder == f"session {other.get_server_pid()} postgres"


async def test_a_snapshot_of_another_user_grows_old_from_look_to_look(watch, pool, other):
    await watch.look()
    await other.execute(SNAPSHOT)
    await pass_time(pool)
    first = await watch.look()
    await pass_time(pool)

    second = await watch.look()

    assert 0.0 <= first.seconds < second.seconds
    await other.execute("rollback")
    assert (await watch.look()).seconds == 0.0


async def test_a_transaction_that_wrote_holds_it_too(watch, pool, other):
    await other.execute("begin; insert into batch (tenant_id, id, size) values (1, gen_random_uuid(), 1)")
    await pass_time(pool)

    assert (await watch.look()).transactions > 0


async def test_of_those_one_may_look_at_the_age_is_told_at_once(pool, database, other):
    """A monitoring user is a member of pg_read_all_stats; the superuser of the tests may, too."""
    await other.execute(SNAPSHOT)
    await pass_time(pool)
    opened = await pool.fetchval(
        "select extract(epoch from now() - xact_start)::float8 from pg_stat_activity where pid = $1",
        other.get_server_pid(),
    )

    assert (await Watch(pool).look()).seconds >= opened > 0


async def test_a_snapshot_in_another_database_holds_nothing_here(postgres, watch, pool):
    name = await postgres.create(empty=True)
    elsewhere = await asyncpg.connect(postgres.dsn(name))
    await elsewhere.execute("begin isolation level repeatable read; select count(*) from pg_class")
    await pass_time(pool)

    assert (await watch.look()).transactions == 0

    await elsewhere.close()
    await postgres.drop(name)


async def test_dead_versions_of_the_queue_s_rows_are_counted(watch, pool):
    await JobQueue(pool).enqueue_many([new_job() for _ in range(50)])
    await pool.execute("update ready set status = 'x'")
    await pool.execute("select pg_stat_force_next_flush()")
    await pool.execute("select 1")

    assert (await watch.look()).dead_tuples == 50
