"""Connections to Postgres that lead nowhere and tell nobody: noticed soon, left, and work goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from support.images import jpeg
from support.processes import Process, api_process, processor_process
from support.proxy import FaultProxy, fault_proxy
from support.watching import submit, until

SLOW = "support.hostile:slow"
IMAGE = jpeg(320, 240)
# A tenth of what is usual. A silent server is left after the limit; readiness falls after one and a half.
SETTINGS = {"database_timeout": 1}


@asynccontextmanager
async def both_roles(
    postgres, database: str, redis_url: str
) -> AsyncIterator[tuple[FaultProxy, Process, Process]]:
    async with fault_proxy(postgres.port) as proxy:
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/{urlsplit(database).path.lstrip('/')}"
        async with (
            api_process(through, redis_url, **SETTINGS) as api,
            processor_process(through, redis_url, modules=SLOW, slots=2, **SETTINGS) as processor,
        ):
            yield proxy, api, processor


async def accepted(api: Process, job: str) -> None:
    """Tries until the job is accepted, as a client does."""
    params = {"pipeline": "slow", "params": '{"seconds": 0}'}
    async with asyncio.timeout(20), httpx.AsyncClient(base_url=api.url, timeout=20) as http:
        while True:
            answer = await http.put(f"/api/jobs/{job}", params=params, content=IMAGE)
            if answer.status_code != 503:
                assert answer.status_code in (200, 202), answer.text
                return
            await asyncio.sleep(0.1)


async def test_a_network_that_has_forgotten_all_connections_costs_seconds_and_no_attempt(
    postgres, database, redis_url
):
    async with both_roles(postgres, database, redis_url) as (proxy, api, _):
        running = (await submit(api.url, "slow", IMAGE, seconds=3, steps=30))["id"]
        await until(api.url, running, "running")
        proxy.forget()
        job = str(uuid4())
        async with asyncio.timeout(20):
            await accepted(api, job)
            ended = [await until(api.url, one, "succeeded", "failed") for one in (running, job)]

    assert [(one["state"], one["attempt"]) for one in ended] == [("succeeded", 1)] * 2


async def test_while_postgres_is_silent_both_roles_say_so_and_live_and_after_it_work_goes_on(
    postgres, database, redis_url
):
    async with both_roles(postgres, database, redis_url) as (proxy, api, processor):
        running = (await submit(api.url, "slow", IMAGE, seconds=3, steps=30))["id"]
        await until(api.url, running, "running")
        proxy.blackhole()
        for role in (api, processor):
            await role.until(lambda role=role: not role.is_ready(), "noticing the silence", seconds=15)
        async with httpx.AsyncClient(timeout=10) as http:
            live = [await http.get(f"{role.url}/livez") for role in (api, processor)]
            refused = await http.get(f"{api.url}/api/jobs/{running}")
        await proxy.heal()
        for role in (api, processor):
            await role.until_ready()
        job = str(uuid4())
        await accepted(api, job)
        ended = [await until(api.url, one, "succeeded", "failed") for one in (running, job)]

    assert [answer.status_code for answer in live] == [200, 200]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert [(one["state"], one["attempt"]) for one in ended] == [("succeeded", 1)] * 2
