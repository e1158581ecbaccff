"""Redis and Postgres stop and come back during a job: nothing is lost, everybody learns the end."""

import asyncio
from contextlib import suppress
from uuid import UUID

import httpx
import pytest
import websockets

from support.images import jpeg
from support.processes import api_process, processor_process
from support.watching import Told, get, submit, until, watch_polling, watch_socket

SLOW = "support.hostile:slow"


@pytest.fixture(scope="module")
def image() -> bytes:
    return jpeg(320, 240)


async def test_without_redis_jobs_are_accepted_and_run_and_every_watcher_learns_the_end(
    database, redis, redis_url, image
):
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=SLOW),
    ):
        before = (await submit(api.url, "slow", image, seconds=3, steps=30))["id"]
        told = [Told(), Told(), Told()]
        watching = asyncio.gather(
            watch_socket(api.url, before, told[0]),
            watch_polling(api.url, before, told[1]),
            watch_polling(api.url, before, told[2], wait=10),
        )
        await until(api.url, before, "running")
        redis.stop()
        after = (await submit(api.url, "slow", image, seconds=0.2, steps=2))["id"]
        late = await watch_socket(api.url, after, Told())

        await watching
        assert late.story[-1] == "succeeded"
        for one in told:
            one.check_order()
            assert one.story[-1] == "succeeded"
        async with httpx.AsyncClient(base_url=api.url) as http:
            assert (await http.get("/readyz")).status_code == 200


async def test_a_poller_without_a_cursor_sees_no_percent_fall_when_redis_dies_before_postgres_heard_of_it(
    database, redis, redis_url, pool, image
):
    async with (
        api_process(database, redis_url) as api,
        processor_process(
            database, redis_url, modules=SLOW, heartbeat_seconds=60, lease_seconds=180
        ) as frozen,
    ):
        job = (await submit(api.url, "slow", image, seconds=60, steps=600))["id"]
        async with asyncio.timeout(30):
            while (told := await get(api.url, job))["progress"] < 2:
                await asyncio.sleep(0.05)
        frozen.sigstop()
        assert await pool.fetchval("select progress from ready where job_id = $1", UUID(job)) == 0
        redis.stop()
        after = [await get(api.url, job) for _ in range(5)]
        redis.start()  # empty
        after += [await get(api.url, job) for _ in range(5)]

    assert {(one["progress"], one["cursor"]) for one in after} == {(told["progress"], told["cursor"])}


async def test_after_redis_came_back_empty_progress_is_live_again(database, redis, redis_url, image):
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=SLOW),
    ):
        job = (await submit(api.url, "slow", image, seconds=8, steps=80))["id"]
        told = Told()
        watching = asyncio.create_task(watch_socket(api.url, job, told))
        await until(api.url, job, "running")
        redis.kill()
        redis.start()
        seen = len(told.progress)
        async with asyncio.timeout(30):
            while len(told.progress) < seen + 5 and not watching.done():
                await asyncio.sleep(0.05)

        await watching
        told.check_order()
        assert told.story[-1] == "succeeded"
        assert len([frame for frame in told.frames if frame["type"] == "progress"]) > 5


async def test_while_redis_hangs_a_read_does_not_wait_for_it_and_progress_is_live_again_after_it(
    database, redis, redis_url, image
):
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=SLOW),
        httpx.AsyncClient(base_url=api.url, timeout=30) as http,
    ):
        job = (await submit(api.url, "slow", image, seconds=60, steps=600))["id"]
        await until(api.url, job, "running")
        with redis.frozen():
            await http.get(f"/api/jobs/{job}")
            # Three waits of a second each for every one of them, were it asked.
            async with asyncio.timeout(15):
                for _ in range(30):
                    assert (await http.get(f"/api/jobs/{job}")).json()["state"] == "running"
        told = Told()
        watching = asyncio.create_task(watch_socket(api.url, job, told))
        async with asyncio.timeout(30):
            while len([frame for frame in told.frames if frame["type"] == "progress"]) < 5:
                await asyncio.sleep(0.05)
        await http.post(f"/api/jobs/{job}/cancel")
        await watching

    told.check_order()
    assert told.story[-1] == "canceled"


async def test_a_restart_of_postgres_loses_nothing_and_everything_reconnects(
    database, postgres, redis_url, image
):
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=SLOW),
    ):
        jobs = [(await submit(api.url, "slow", image, seconds=4, steps=40))["id"] for _ in range(3)]
        await until(api.url, jobs[0], "running")
        told = Told()
        watching = asyncio.create_task(_patient_socket(api.url, jobs[0], told))
        postgres.stop()
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
            refused = await http.post("/api/jobs", params={"pipeline": "slow"}, content=image)
            assert refused.status_code == 503
            assert refused.json()["retryable"] is True
            assert "retry-after" in refused.headers
        assert api.is_alive()
        await asyncio.sleep(1)
        postgres.start()

        ended = [await until_patiently(api.url, job) for job in jobs]
        await watching

    told.check_order()
    assert told.story[-1] == "succeeded"
    assert [job["state"] for job in ended] == ["succeeded"] * 3
    assert [job["attempt"] for job in ended] == [1, 1, 1]


async def test_what_was_accepted_is_there_after_postgres_was_killed_in_the_next_moment(
    database, postgres, redis_url, image
):
    async with api_process(database, redis_url) as api, processor_process(database, redis_url, modules=SLOW):
        await until(api.url, (await submit(api.url, "slow", image, seconds=0, steps=1))["id"], "succeeded")
        jobs = await asyncio.gather(
            *(submit(api.url, "slow", image, seconds=0, steps=number) for number in range(1, 21))
        )
        postgres.kill()
        postgres.start()

        ended = [await until_patiently(api.url, job["id"]) for job in jobs]

    assert [job["state"] for job in ended] == ["succeeded"] * 20


async def until_patiently(url: str, job: str) -> dict:
    async with asyncio.timeout(90):
        while True:
            try:
                found = await get(url, job)
            except httpx.HTTPError:
                found = {"state": "unknown"}
            if found["state"] in ("succeeded", "failed"):
                return found
            await asyncio.sleep(0.1)


async def _patient_socket(url: str, job: str, told: Told) -> None:
    """Comes back with its cursor for as long as the job has not ended."""
    while not told.states or told.story[-1] not in ("succeeded", "failed"):
        with suppress(OSError, websockets.WebSocketException):
            await watch_socket(url, job, told, after=told.cursor)
        await asyncio.sleep(0.2)
