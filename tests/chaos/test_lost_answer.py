"""Postgres commits and the answer never arrives: who asked cannot know, and nothing comes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from support.images import jpeg
from support.ports import free_port
from support.processes import api_process, processor_process
from support.watching import get, until

_READY = b"Z\0\0\0\5"  # what ends an answer: it has committed


class ForgetfulProxy:
    """In front of Postgres: lets one statement commit, and breaks the connection in place of its answer.

    That is the first that names the job: the enqueue, where it is `asked` for, or an answer, such as that to
    a claim, where it is `told`. What is forgotten is `held` back until `go_on`.
    """

    def __init__(self, target: int, job: UUID, way: Literal["asked", "told"]) -> None:
        self.port = free_port()
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()
        self._target = target
        self._job = job.bytes
        self._way = way

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        deaf = asyncio.Event()

        def notice(data: bytes, way: str) -> None:
            if self._way == way and self._job in data and not self.held.is_set():
                self.held.set()
                deaf.set()

        async def ask() -> None:
            enqueues = False
            while data := await reader.read(65536):
                enqueues = enqueues or b"enqueue(" in data
                if enqueues:
                    notice(data, "asked")
                forth.write(data)
                await forth.drain()

        async def answer() -> None:
            while data := await back.read(65536):
                notice(data, "told")
                if deaf.is_set():
                    while _READY not in data:
                        data += await back.read(65536)
                    await self.go_on.wait()
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        with suppress(OSError):
            writer.close()
            forth.close()


@asynccontextmanager
async def forgetful_proxy(
    target: int, job: UUID, way: Literal["asked", "told"]
) -> AsyncIterator[ForgetfulProxy]:
    proxy = ForgetfulProxy(target, job, way)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", proxy.port)
    try:
        yield proxy
    finally:
        server.close()


def through(proxy: ForgetfulProxy, database: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{urlsplit(database).path.lstrip('/')}"


async def story(url: str, job: UUID) -> list[str]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        return [event["reason"] for event in (await http.get(f"/api/jobs/{job}/events")).json()["events"]]


async def test_a_job_whose_acceptance_was_never_heard_of_keeps_its_bytes_and_a_repeat_finds_it(
    postgres, database, redis_url
):
    job, image = uuid4(), jpeg(200, 150)
    async with forgetful_proxy(postgres.port, job, "asked") as proxy:
        proxy.go_on.set()
        async with (
            api_process(through(proxy, database), redis_url) as api,
            processor_process(database, redis_url, slots=1),
            httpx.AsyncClient(base_url=api.url, timeout=60) as http,
        ):
            first = await http.put(f"/api/jobs/{job}?pipeline=transform", content=image)
            again = await http.put(f"/api/jobs/{job}?pipeline=transform", content=image)
            ended = await until(api.url, str(job), "succeeded", "failed")

    assert proxy.held.is_set()
    assert (first.status_code, first.json()["retryable"], again.status_code) == (503, True, 200)
    assert (ended["state"], ended["error"]) == ("succeeded", None)


@pytest.mark.parametrize("drains", [False, True], ids=["and goes on", "and drains"])
async def test_a_job_whose_claim_was_never_heard_of_is_handed_back_by_the_processor_that_has_it(
    postgres, database, redis_url, drains
):
    job, image = uuid4(), jpeg(200, 150)
    async with (
        forgetful_proxy(postgres.port, job, "told") as proxy,
        api_process(database, redis_url) as api,
        httpx.AsyncClient(base_url=api.url, timeout=60) as http,
        processor_process(through(proxy, database), redis_url, slots=1) as processor,
    ):
        assert (await http.put(f"/api/jobs/{job}?pipeline=transform", content=image)).status_code == 202
        async with asyncio.timeout(30):
            await proxy.held.wait()
        if drains:
            processor.sigterm()
            await processor.until(lambda: "drain.started" in processor.logs(), "beginning to drain")
            proxy.go_on.set()
            assert await processor.wait(30) == 0
            ended = await get(api.url, str(job))
        else:
            proxy.go_on.set()
            ended = await until(api.url, str(job), "succeeded", "failed")
        told = await story(api.url, job)

    handed_back = ["submitted", "claimed", "released"]
    assert told == (handed_back if drains else [*handed_back, "claimed", "completed"])
    assert ended["attempt"] == (0 if drains else 1)
