"""Jobs that are forgotten: everything about them is 410, with the reason; for strangers they never were."""

import asyncio
import json
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import websockets

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.retention import Retention
from safelight.keys.keys import ApiKeys
from safelight.wire.key import JobKey
from support.history import backdate, prune_all
from support.watching import everything, until


@pytest.fixture
async def http(service):
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        yield client


async def forget(service, job, tenant=1):
    """Its time is over."""
    async with asyncpg.create_pool(service.database, min_size=1, max_size=2) as pool:
        await backdate(pool, [JobKey(tenant, UUID(job))], 30)
        await prune_all(Retention(pool), by_row=False)


async def forgotten(service, image, pipeline="echo"):
    """A job that has been there."""
    job = str(uuid4())
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        answer = await http.put(f"/api/jobs/{job}?pipeline={pipeline}", content=image)
        assert answer.status_code == 202, answer.text
    ended = await until(service.url, job, "succeeded")
    await forget(service, job)
    return ended


def expired(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (410, "application/problem+json")
    body = answer.json()
    assert (body["code"], body["reason"], body["retryable"]) == ("job_expired", "retention", False)
    assert "forgotten on 2" in body["detail"]
    return True


async def test_everything_about_a_forgotten_job_is_gone_and_says_why(http, service, image):
    job = await forgotten(service, image)
    here = f"/api/jobs/{job['id']}"

    assert expired(await http.get(f"{here}/events"))
    assert expired(await http.get(job["outputs"][0]["href"]))
    assert expired(await http.get(job["inputs"][0]["href"]))
    assert expired(await http.get(f"{here}/outputs/nothing.jpg"))
    assert expired(await http.post(f"{here}/cancel"))
    assert expired(await http.post(f"{here}/retry"))
    assert expired(await http.get(here, params={"wait": 20, "after": job["cursor"]}))
    async with asyncio.timeout(20):  # what a poller was told is remembered for a moment
        while (await http.get(here)).status_code == 200:
            await asyncio.sleep(0.1)
    assert expired(await http.get(here))
    assert job["id"] not in {one["id"] for one in (await http.get("/api/jobs?limit=200")).json()["jobs"]}


async def test_a_socket_on_a_forgotten_job_is_closed_for_good(service, image):
    job = await forgotten(service, image, "noop")
    address = "ws" + service.url.removeprefix("http") + f"/api/jobs/{job['id']}/live?after={job['cursor']}"

    async with websockets.connect(address) as socket:
        said = [json.loads(text) for text in await everything(socket)]

    assert socket.close_code == 4502
    assert (said[-1]["type"], said[-1]["code"]) == ("error", "job_expired")


async def test_the_id_of_a_forgotten_job_is_not_taken_again(http, service, image):
    job = await forgotten(service, image)

    assert expired(await http.put(f"/api/jobs/{job['id']}?pipeline=echo", content=image))

    async with asyncpg.create_pool(service.database, min_size=1, max_size=1) as pool:
        assert await pool.fetchval("select count(*) from job where id = $1", UUID(job["id"])) == 0


async def test_a_job_that_is_forgotten_while_its_id_is_sent_again_is_refused_and_leaves_no_bytes(
    http, service, image
):
    job = str(uuid4())
    assert (await http.put(f"/api/jobs/{job}?pipeline=noop", content=image)).status_code == 202
    await until(service.url, job, "succeeded")

    async def body():
        yield image[:100]  # it is known still: this is a repeat
        await forget(service, job)
        yield image[100:]

    assert (await http.put(f"/api/jobs/{job}?pipeline=noop", content=body())).status_code == 410

    async with asyncpg.create_pool(service.database, min_size=1, max_size=1) as pool:
        [first] = await pool.fetch("select keys from debris where keys[1] like $1", f"{job}/%")
        left = {row["key"] for row in await pool.fetch("select key from blob where key like $1", f"{job}/%")}
    assert left == {key for key in first["keys"] if "/in/" in key}  # of the first; its pruner removes them


async def test_an_id_that_never_was_is_not_found_however_old_it_looks(http):
    for job in (uuid4(), UUID("01000000-0000-7000-8000-000000000000")):
        answer = await http.get(f"/api/jobs/{job}")
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


@asynccontextmanager
async def client(service, credential):
    headers = {"authorization": f"Bearer {credential}"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30) as http:
        yield http


async def make_key(service, tenant):
    async with open_pool(Settings(database_url=service.database)) as pool:
        return await ApiKeys(pool).create(tenant, "test", ("read", "write"))


async def test_another_tenant_hears_nothing_of_a_forgotten_job(guarded, image):
    job = str(uuid4())
    async with (
        client(guarded, await make_key(guarded, "a")) as mine,
        client(guarded, await make_key(guarded, "b")) as theirs,
    ):
        submitted = (await mine.put(f"/api/jobs/{job}?pipeline=noop", content=image)).json()
        async with asyncio.timeout(30):
            while (await mine.get(f"/api/jobs/{job}/events")).json()["events"][-1]["state"] != "succeeded":
                await asyncio.sleep(0.05)
        connection = await asyncpg.connect(guarded.database)
        tenant = await connection.fetchval("select id from tenant where name = 'a'")
        await connection.close()
        await forget(guarded, job, tenant)

        for path in ("", "/events", "/outputs/x", "/inputs/image.jpg"):
            answer = await theirs.get(f"/api/jobs/{job}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
        assert expired(await mine.get(f"/api/jobs/{job}/events"))
        async with client(guarded, submitted["token"]) as holder:
            assert expired(await holder.get(f"/api/jobs/{job}/events"))
        taken = await theirs.put(f"/api/jobs/{job}?pipeline=noop", content=image)
        assert taken.status_code == 202
