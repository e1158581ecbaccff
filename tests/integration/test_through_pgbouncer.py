"""The whole way of a job with both roles behind PgBouncer in transaction mode: bytes, keys, news and all."""

import asyncio

import httpx

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.keys.keys import ApiKeys
from support.images import jpeg
from support.processes import api_process, processor_process
from support.requires import requires
from support.watching import Told, watch_socket

JOBS = 8


@requires("pgbouncer")
async def test_jobs_are_accepted_run_watched_and_fetched_over_a_few_shared_sessions(
    through_pgbouncer, redis_url
):
    image = jpeg(1600, 1200)
    async with open_pool(Settings(database_url=through_pgbouncer)) as pool:
        key = await ApiKeys(pool).create("acme", "test")
    async with (
        api_process(through_pgbouncer, redis_url, auth="keys", workers=2) as api,
        processor_process(through_pgbouncer, redis_url, slots=4) as processor,
        httpx.AsyncClient(base_url=api.url, timeout=60, headers={"Authorization": f"Bearer {key}"}) as http,
    ):
        jobs = [
            answer.raise_for_status().json()
            for answer in await asyncio.gather(
                *(http.post("/api/jobs?pipeline=transform", content=image) for _ in range(JOBS))
            )
        ]
        told = await asyncio.gather(
            *(watch_socket(api.url, job["id"], Told(), token=job["token"]) for job in jobs)
        )
        ended = [(await http.get(f"/api/jobs/{job['id']}")).json() for job in jobs]
        outputs = await asyncio.gather(*(http.get(job["outputs"][0]["href"]) for job in ended))
        assert await processor.stop() == 0

    for one in told:
        one.check_order()
        assert one.story[-1] == "succeeded"
    assert [(job["state"], job["attempt"]) for job in ended] == [("succeeded", 1)] * JOBS
    assert all(output.content.startswith(b"\xff\xd8\xff") for output in outputs)
