"""Processes die, freeze and stop while a job is under way; its watchers and its result do not suffer."""

import asyncio
from datetime import datetime

import httpx
import pytest

from support.images import jpeg
from support.nginx import nginx
from support.processes import api_process, processor_process
from support.requires import requires
from support.watching import Told, get, metric, submit, until, watch_polling, watch_socket

SLOW = "support.hostile:slow"


@pytest.fixture(scope="module")
def image() -> bytes:
    return jpeg(320, 240)


async def test_a_job_submitted_at_one_pod_is_watched_to_its_end_at_another_after_the_first_was_killed(
    database, redis_url, image
):
    async with (
        api_process(database, redis_url) as a,
        api_process(database, redis_url) as b,
        processor_process(database, redis_url, modules=SLOW),
    ):
        job = (await submit(a.url, "slow", image, seconds=3, steps=30))["id"]
        watchers = asyncio.gather(
            watch_socket(b.url, job, Told()),
            watch_polling(b.url, job, Told()),
            watch_polling(b.url, job, Told(), wait=5),
        )
        await until(b.url, job, "running")
        a.kill()

        for told in await watchers:
            told.check_order()
            assert told.story[-1] == "succeeded"
            assert set(told.story) <= {"queued", "running", "succeeded"}


@requires("nginx")
async def test_behind_a_round_robin_balancer_no_watcher_meets_a_pod_that_does_not_know_its_job(
    database, redis_url, image
):
    async with (
        api_process(database, redis_url) as a,
        api_process(database, redis_url) as b,
        nginx([a.url, b.url]) as balancer,
        processor_process(database, redis_url, modules=SLOW),
    ):
        jobs = [(await submit(balancer.url, "slow", image, seconds=1, steps=10))["id"] for _ in range(4)]
        told = await asyncio.gather(
            *(watch_polling(balancer.url, job, Told()) for job in jobs),
            *(watch_socket(balancer.url, job, Told()) for job in jobs),
        )

        for one in told:
            one.check_order()
            assert one.story[-1] == "succeeded"


async def test_a_socket_that_was_cut_resumes_at_another_pod_without_a_hole_or_a_repeat(
    database, redis_url, image
):
    async with (
        api_process(database, redis_url) as a,
        api_process(database, redis_url) as b,
        processor_process(database, redis_url, modules=SLOW),
    ):
        job = (await submit(a.url, "slow", image, seconds=3, steps=30))["id"]
        first, second = Told(), Told()
        watching = asyncio.create_task(watch_socket(a.url, job, first))
        async with asyncio.timeout(30):
            while len(first.progress) < 5:
                await asyncio.sleep(0.02)
        a.kill()
        await asyncio.gather(watching, return_exceptions=True)

        await watch_socket(b.url, job, second, after=first.cursor)

        both = Told(states=first.states + second.states, progress=first.progress + second.progress)
        both.check_order()
        assert "snapshot" not in [frame["type"] for frame in second.frames]
        assert len({at for at, _ in both.states}) == len(both.states)
        assert both.story[-1] == "succeeded"


async def test_a_job_whose_processor_was_killed_runs_again_within_twenty_seconds(database, redis_url, image):
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=SLOW) as first,
        processor_process(database, redis_url, modules=SLOW, ready=False) as second,
    ):
        await second.until_ready()
        jobs = [(await submit(api.url, "slow", image, seconds=2, steps=20))["id"] for _ in range(4)]
        for job in jobs:
            await until(api.url, job, "running")
        first.kill()
        ended = [await until(api.url, job, "succeeded") for job in jobs]
        async with httpx.AsyncClient(base_url=api.url) as http:
            stories = [(await http.get(f"/api/jobs/{job}/events")).json()["events"] for job in jobs]

    assert sorted(job["attempt"] for job in ended) == [1, 1, 2, 2]
    for story in stories:
        assert [event["state"] for event in story].count("succeeded") == 1
        times = {event["reason"]: event["ts"] for event in story}
        if "rescued" in times:
            lost = _seconds(story[1]["ts"], times["rescued"])
            assert lost <= 20


async def test_what_a_processor_writes_after_it_was_frozen_past_its_lease_is_refused_and_counted(
    database, redis_url, image
):
    lease = {"lease_seconds": 2, "heartbeat_seconds": 0.5}
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=SLOW, slots=1, **lease) as frozen,
    ):
        job = (await submit(api.url, "slow", image, seconds=3, steps=30))["id"]
        await until(api.url, job, "running")
        frozen.sigstop()
        async with processor_process(database, redis_url, modules=SLOW, slots=1, **lease):
            told = Told()
            watching = asyncio.create_task(watch_socket(api.url, job, told))
            async with asyncio.timeout(30):
                while (await get(api.url, job))["attempt"] < 2:
                    await asyncio.sleep(0.05)
            frozen.sigcont()
            await frozen.until(lambda: _refused(frozen.url) > 0, "noticing that the lease was lost", 30)
            ended = await until(api.url, job, "succeeded")
            await watching

    told.check_order()
    assert ended["attempt"] == 2
    assert told.story[-1] == "succeeded"


async def test_a_processor_that_is_told_to_stop_hands_its_job_back_without_burning_the_attempt(
    database, redis_url, image
):
    async with api_process(database, redis_url) as api:
        async with processor_process(database, redis_url, modules=SLOW, drain_seconds=0.5) as leaving:
            job = (await submit(api.url, "slow", image, seconds=60, steps=600))["id"]
            await until(api.url, job, "running")
            assert await leaving.stop(20) == 0
        back = await get(api.url, job)
        assert (back["state"], back["reason"], back["attempt"]) == ("queued", "released", 0)

        async with processor_process(database, redis_url, modules=SLOW, drain_seconds=0.5):
            assert (await until(api.url, job, "running"))["attempt"] == 1


async def test_a_processor_that_is_told_to_stop_finishes_what_fits_into_the_grace_time(
    database, redis_url, image
):
    async with api_process(database, redis_url) as api:
        async with processor_process(database, redis_url, modules=SLOW) as leaving:
            job = (await submit(api.url, "slow", image, seconds=1, steps=10))["id"]
            await until(api.url, job, "running")
            waiting = (await submit(api.url, "slow", image, seconds=0, steps=1))["id"]
            leaving.sigterm()
            later = (await submit(api.url, "slow", image, seconds=0, steps=1))["id"]
            assert await leaving.wait(30) == 0

        assert (await get(api.url, job))["state"] == "succeeded"
        assert (await get(api.url, later))["state"] == "queued"
        assert (await get(api.url, waiting))["state"] in ("queued", "succeeded")


async def test_a_running_job_is_canceled_from_any_pod_while_its_code_is_stuck(database, redis_url, image):
    modules = "support.hostile:stuck,support.hostile:slow"
    async with (
        api_process(database, redis_url) as a,
        api_process(database, redis_url) as b,
        processor_process(database, redis_url, modules=modules, slots=1),
    ):
        job = (await submit(a.url, "hostile-stuck", image))["id"]
        await until(a.url, job, "running")
        async with httpx.AsyncClient(base_url=b.url) as http:
            assert (await http.post(f"/api/jobs/{job}/cancel")).status_code == 200

        assert (await until(a.url, job, "canceled", seconds=10))["reason"] == "canceled"
        # The slot is free again.
        after = (await submit(b.url, "slow", image, seconds=0, steps=1))["id"]
        assert (await until(a.url, after, "succeeded"))["attempt"] == 1


def _seconds(before: str, after: str) -> float:
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


def _refused(url: str) -> float:
    return metric(httpx.get(f"{url}/metrics", timeout=5).text, "safelight_leases_lost_total")
