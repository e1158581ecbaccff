"""Postgres has no connection left: the API says so and lives, and all goes on by itself when it has some."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import asyncpg
import httpx

from support.images import jpeg
from support.processes import api_process, processor_process
from support.watching import submit, until

NOOP = "support.hostile:noop"
IMAGE = jpeg(200, 150)
_END = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1"
_LEFT = "select count(*) from pg_stat_activity where datname = $1"


@asynccontextmanager
async def hoard(postgres, database: str) -> AsyncIterator[int]:
    """Takes every connection that the server has, and those of a database as well; their number."""
    name = urlsplit(database).path.lstrip("/")
    taken = [await asyncpg.connect(postgres.dsn())]

    async def take() -> None:
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(postgres.dsn()))

    async def take_all() -> None:
        await asyncio.gather(*(take() for _ in range(4)))
        while await taken[0].fetchval(_LEFT, name):
            await taken[0].fetch(_END, name)
            await asyncio.gather(*(take() for _ in range(4)))

    try:
        async with asyncio.timeout(60):
            await take_all()
        yield len(taken)
    finally:
        for connection in taken:
            connection.terminate()


async def test_without_a_free_connection_submissions_are_refused_and_everything_recovers_by_itself(
    postgres, database, redis_url
):
    async with (
        api_process(database, redis_url, database_timeout=1) as api,
        processor_process(database, redis_url, modules=NOOP, database_timeout=1) as processor,
        httpx.AsyncClient(base_url=api.url, timeout=20) as http,
    ):
        before = await submit(api.url, "noop", IMAGE)
        async with hoard(postgres, database) as connections:
            refused = [
                await http.post("/api/jobs", params={"pipeline": "noop"}, content=IMAGE),
                await http.get(f"/api/jobs/{before['id']}/events"),
            ]
            lives = [await http.get(f"{one.url}/livez") for one in (api, processor)]
            for one in (api, processor):
                await one.until(lambda one=one: not one.is_ready(), "noticing it", seconds=20)
        for one in (api, processor):
            await one.until_ready()
        after = await submit(api.url, "noop", IMAGE)
        ended = [await until(api.url, job["id"], "succeeded", "failed") for job in (before, after)]
        died = [one.logs().count("loop.died") for one in (api, processor)]

    assert connections > 100
    assert [answer.status_code for answer in refused] == [503, 503]
    assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}
    assert [answer.status_code for answer in lives] == [200, 200]
    assert [job["state"] for job in ended] == ["succeeded"] * 2
    assert died == [0, 0]


async def test_when_all_connections_of_a_process_are_busy_requests_are_refused_and_health_answers(
    database, redis_url, pool
):
    async with (
        api_process(database, redis_url, database_timeout=1, database_pool=2) as api,
        httpx.AsyncClient(base_url=api.url, timeout=20) as http,
    ):
        async with pool.acquire() as other, other.transaction():
            await other.execute("lock table job")
            answers = [http.get("/api/jobs") for _ in range(8)]
            busy = await asyncio.gather(*answers, http.get("/livez"), http.get("/metrics"))
        async with asyncio.timeout(20):
            while (await http.get("/api/jobs")).status_code != 200:
                await asyncio.sleep(0.1)

    assert [answer.status_code for answer in busy] == [503] * 8 + [200, 200]
