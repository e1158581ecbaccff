"""Sessions of Postgres are ended at random, five a second, while jobs flow: no job is lost or done twice."""

import asyncio
import random
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx

from safelight.jobs.queue import JobQueue
from safelight.wire.key import JobKey
from support.images import jpeg
from support.processes import Process, api_process, processor_process

NOOP = "support.hostile:noop"
JOBS = 300
SECONDS = 6.0
PAUSE = 0.2
IMAGE = jpeg(64, 48)
_SESSIONS = "select pid from pg_stat_activity where datname = $1 and backend_type = 'client backend'"


async def keep_killing(dsn: str, database: str, killed: list[int]) -> None:
    """For ever: ends one session of the database, whatever it is doing."""
    connection = await asyncpg.connect(dsn)
    while True:
        pids = [row[0] for row in await connection.fetch(_SESSIONS, database)]
        if pids:
            pid = random.choice(pids)
            killed += [pid] if await connection.fetchval("select pg_terminate_backend($1)", pid) else []
        await asyncio.sleep(PAUSE)


async def submit_all(api: Process, jobs: list[UUID], until: float) -> None:
    """Submits each until it is accepted, spread over the time."""
    loop = asyncio.get_running_loop()
    waiting = list(jobs)

    async def client(http: httpx.AsyncClient) -> None:
        while waiting:
            job = waiting.pop()
            while (
                answer := await http.put(f"/api/jobs/{job}", params={"pipeline": "noop"}, content=IMAGE)
            ).status_code == 503:
                assert answer.json()["retryable"] is True
                await asyncio.sleep(0.05)
            assert answer.status_code in (200, 202), answer.text
            await asyncio.sleep(max(0.0, until - loop.time()) / (len(waiting) + 1))

    async with httpx.AsyncClient(base_url=api.url, timeout=60) as http, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(client(http))


async def words(role: Process) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=role.url, timeout=10) as http:
        return dict((await http.get("/livez")).json())


async def patiently(pool: asyncpg.Pool, statement: str) -> int:
    """Our own sessions are killed as well."""
    for _ in range(20):
        try:
            return int(await pool.fetchval(statement))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await asyncio.sleep(0.1)
    raise AssertionError("no session lives long enough")


async def test_sessions_that_are_killed_again_and_again_cost_no_job_and_no_attempt(
    postgres, database, redis_url
):
    jobs = [uuid4() for _ in range(JOBS)]
    killed: list[int] = []
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=NOOP, slots=4, poll_seconds=0.5) as a,
        processor_process(database, redis_url, modules=NOOP, slots=4, poll_seconds=0.5) as b,
        asyncpg.create_pool(database, min_size=1, max_size=2) as pool,
    ):
        name = urlsplit(database).path.lstrip("/")
        killing = asyncio.create_task(keep_killing(postgres.dsn(), name, killed))
        await submit_all(api, jobs, asyncio.get_running_loop().time() + SECONDS)
        killing.cancel()
        async with asyncio.timeout(60):
            while await patiently(pool, "select count(*) from done") < JOBS:
                await asyncio.sleep(0.1)
        for role in (api, a, b):
            async with asyncio.timeout(20):
                while set((await words(role)).values()) != {"ok"}:
                    await asyncio.sleep(0.1)
            assert "loop.died" not in role.logs()
        queue = JobQueue(pool)
        found = [await queue.get(JobKey(1, job)) for job in jobs]
        stories = [[event.reason for event in await queue.timeline(job)] for job in found]

    assert len(killed) > 15
    assert {(job.state, job.attempt) for job in found} == {("succeeded", 1)}
    assert set().union(*stories) <= {"submitted", "claimed", "released", "completed"}
    assert all(story.count("completed") == 1 for story in stories)
