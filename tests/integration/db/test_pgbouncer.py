"""Behind PgBouncer in transaction mode a statement may run in any of a few sessions that many share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from safelight.config import Settings
from safelight.db.migrate import migrate, migrations
from safelight.db.pool import Pool, open_pool, outages
from safelight.errors import Failure
from safelight.jobs.queue import JobQueue
from support.jobs import LEASE, new_job, succeeded
from support.pgbouncer import SESSIONS, pgbouncer
from support.requires import requires

pytestmark = requires("pgbouncer")
CLIENTS = 10
_SERVED = "select pg_backend_pid(), pg_sleep(0.01)"
_NAMED = "select count(*) from pg_prepared_statements where name like '\\_\\_asyncpg%'"


@pytest.fixture
async def pools(through_pgbouncer) -> AsyncIterator[list[Pool]]:
    """Two processes' worth of clients."""
    settings = Settings(database_url=through_pgbouncer, database_pool=CLIENTS)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_pool(settings)) for _ in range(2)]


async def test_many_clients_share_few_sessions(pools):
    asked = [pool.fetchval(_SERVED) for _ in range(CLIENTS) for pool in pools]

    sessions = set(await asyncio.gather(*asked))

    assert sum(pool.get_size() for pool in pools) == 2 * CLIENTS
    assert 1 < len(sessions) <= SESSIONS


async def test_it_is_found_out_and_statements_stay_without_a_name(pools, pool):
    for _ in range(10):
        answers = await asyncio.gather(
            *(one.fetchval("select $1::integer + 1", 1) for _ in range(CLIENTS) for one in pools)
        )
        assert set(answers) == {2}

    assert await asyncio.gather(*(pools[0].fetchval(_NAMED) for _ in range(CLIENTS))) == [0] * CLIENTS


async def test_a_direct_connection_has_named_statements(database):
    async with open_pool(Settings(database_url=database)) as pool, pool.acquire() as connection:
        await connection.fetchval("select $1::integer", 1)
        assert await connection.fetchval(_NAMED) > 0


async def test_named_statements_would_be_missed_in_another_session(through_pgbouncer):
    """What all this is for; and a test that goes through here can fail."""
    settings = Settings(database_url=through_pgbouncer, database_pool=CLIENTS, database_prepare="on")
    async with open_pool(settings) as pool:
        answers = await asyncio.gather(
            *(pool.fetchval(_SERVED) for _ in range(20 * CLIENTS)), return_exceptions=True
        )

    missed = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
    assert [answer for answer in answers if isinstance(answer, missed)]


async def test_migrations_run_through_it_also_many_at_once(shared_pgbouncer, postgres):
    name = await postgres.create(empty=True)
    address = shared_pgbouncer.dsn(name)

    answers = await asyncio.gather(*(migrate(address) for _ in range(4)))

    assert sorted(name for answer in answers for name in answer) == [step.name for step in migrations()]
    await postgres.drop(name)


async def test_jobs_flow_from_many_clients_to_many_and_each_is_taken_and_ended_once(pools):
    jobs = [new_job() for _ in range(300)]
    taken = []

    async def submit(pool: Pool) -> None:
        queue = JobQueue(pool)
        await asyncio.gather(*(queue.enqueue(job) for job in jobs[pools.index(pool) :: 2]))

    async def work(pool: Pool) -> None:
        queue, worker = JobQueue(pool), uuid4()
        while len(taken) < len(jobs):
            leases = await queue.claim(["noop"], 5, worker, LEASE)
            taken.extend(lease.id for lease in leases)
            ended = await queue.complete([succeeded(lease) for lease in leases])
            assert len(ended) == len(leases)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for pool in pools:
            group.create_task(submit(pool))
            for _ in range(4):
                group.create_task(work(pool))

    assert sorted(taken) == sorted(job.id for job in jobs)


async def test_who_gives_up_in_the_middle_of_a_statement_leaves_no_session_unusable(pools, pool):
    async def give_up(one: Pool, after: float) -> None:
        async with asyncio.timeout(after):
            await one.fetchval("select $1::integer from pg_sleep(0.05)", 1)

    answers = await asyncio.gather(
        *(give_up(one, 0.0005 * number) for number in range(80) for one in pools), return_exceptions=True
    )
    after = await asyncio.gather(*(one.fetchval("select 1") for _ in range(CLIENTS) for one in pools))

    assert TimeoutError in {type(answer) for answer in answers}
    assert set(after) == {1}
    open_ones = (
        "select count(*) from pg_stat_activity where datname = current_database() and xact_start < now()"
    )
    assert await pool.fetchval(open_ones) == 0


async def ask(pool: Pool) -> bool:
    """Whether there was an answer; none of its ways to say no may end a process."""
    try:
        async with outages():
            return bool(await pool.fetchval("select true"))
    except Failure as failure:
        return failure.code != "unavailable"


async def test_what_it_says_when_it_has_no_room_is_an_outage_and_passes(postgres, database):
    with pgbouncer(postgres, clients=SESSIONS + 2, patience=1) as server:
        settings = Settings(
            database_url=server.dsn(urlsplit(database).path.lstrip("/")), database_pool=10, database_timeout=5
        )
        async with open_pool(settings) as pool, AsyncExitStack() as stack:
            for _ in range(SESSIONS):  # taken, and not given back
                connection = await stack.enter_async_context(pool.acquire())
                await stack.enter_async_context(connection.transaction())
                await connection.execute("select 1")
            # Two may wait for a session, in vain; the others are not let in.
            assert await asyncio.gather(*(ask(pool) for _ in range(5))) == [False] * 5
            await stack.aclose()
            assert await ask(pool)
