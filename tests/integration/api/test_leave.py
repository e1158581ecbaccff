"""A process that is told to stop sends its watchers elsewhere before it goes, and answers who still asks."""

import asyncio
import json
import sys

import httpx
import psutil
import pytest
import websockets

from support.ports import free_port
from support.processes import Process, environment
from support.watching import everything, stream, submit


@pytest.fixture
async def pod(service, shared_redis):
    """Another pod of the same service, with one process, that a test may stop."""
    port, health = free_port(), free_port()
    given = {"workers": 1, "port": port, "health_port": health, "ping_seconds": 0.5, "notice_seconds": 0.5}
    env = environment(service.database, shared_redis.url, **given)
    api = Process("leaving", [sys.executable, "-m", "safelight_api"], env, port)
    try:
        await api.until_ready()
        yield api
    finally:
        api.kill()


async def test_watchers_are_told_to_come_back_and_sockets_close_with_a_code_that_says_so(service, pod, image):
    job = (await submit(service.url, "slow", image, seconds=20, steps=20))["id"]
    address = f"ws{pod.url.removeprefix('http')}/api/jobs/{job}/live"

    async def watch() -> tuple[list[str], int]:
        kinds = []
        async with websockets.connect(address, open_timeout=10) as socket:
            ready.release()
            for text in await everything(socket):
                frame = json.loads(text)
                kinds.append(frame["type"])
                assert 0 <= frame.get("reconnect_after_ms", 0) <= 1000
        return kinds, socket.close_code

    async def read() -> list[str]:
        ready.release()
        return [frame["type"] async for frame in stream(pod.url, job)]

    ready = asyncio.Semaphore(0)
    sockets = [asyncio.create_task(watch()) for _ in range(10)]
    reader = asyncio.create_task(read())
    for _ in range(11):
        await ready.acquire()
    await asyncio.sleep(0.3)
    pod.sigterm()

    for kinds, code in await asyncio.wait_for(asyncio.gather(*sockets), 20):
        assert kinds[-1] == "goaway"
        assert "error" not in kinds
        assert code == 4000
    assert (await asyncio.wait_for(reader, 20))[-1] == "goaway"
    assert await pod.wait(20) == 0


async def test_between_the_signal_and_the_goodbyes_it_is_not_ready_refuses_new_watchers_and_serves(
    service, pod, image
):
    job = (await submit(service.url, "slow", image, seconds=20, steps=20))["id"]
    async with httpx.AsyncClient(base_url=pod.url, timeout=30) as http:
        cursor = (await http.get(f"/api/jobs/{job}")).json()["cursor"]
        pod.sigterm()
        async with asyncio.timeout(10):
            while (await http.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.01)
        waiting = asyncio.create_task(http.get(f"/api/jobs/{job}", params={"wait": 25, "after": cursor}))
        assert (await http.get(f"/api/jobs/{job}")).status_code == 200
        frames = [frame["type"] async for frame in stream(pod.url, job)]
        assert frames == ["error"]
        answered = await asyncio.wait_for(waiting, 10)  # at once, not after 25 seconds
        assert answered.status_code in (200, 304)
    assert await pod.wait(20) == 0


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5, 0.8])
async def test_a_process_that_is_stopped_while_it_starts_is_gone_soon(service, shared_redis, seconds):
    port, health = free_port(), free_port()
    env = environment(service.database, shared_redis.url, workers=2, port=port, health_port=health)
    api = Process("starting", [sys.executable, "-m", "safelight_api"], env, port)
    try:
        await api.until(lambda: len(psutil.Process(api.pid).children()) == 2, "its workers", 20)
        await asyncio.sleep(seconds)
        api.sigterm()
        assert await api.wait(15) == 0
    finally:
        api.kill()
