"""Postgres commits a job and the answer never arrives: the client hears 503, and the job is whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx

from support.images import jpeg
from support.ports import free_port
from support.processes import api_process, processor_process
from support.watching import until


class ForgetfulProxy:
    """In front of Postgres: lets the enqueue of one job commit, and breaks the connection at its answer."""

    def __init__(self, target: int, job: UUID) -> None:
        self.port = free_port()
        self.forgotten = 0
        self._target = target
        self._job = job.bytes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        deaf = asyncio.Event()

        async def ask() -> None:
            enqueues = False
            while data := await reader.read(65536):
                enqueues = enqueues or b"enqueue(" in data
                if enqueues and self._job in data and not self.forgotten:
                    self.forgotten += 1
                    deaf.set()
                forth.write(data)
                await forth.drain()

        async def answer() -> None:
            while data := await back.read(65536):
                if deaf.is_set():
                    # It has an answer, so it has committed.
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
async def forgetful_proxy(target: int, job: UUID) -> AsyncIterator[ForgetfulProxy]:
    proxy = ForgetfulProxy(target, job)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", proxy.port)
    try:
        yield proxy
    finally:
        server.close()


async def test_a_job_whose_acceptance_was_never_heard_of_keeps_its_bytes_and_a_repeat_finds_it(
    postgres, database, redis_url
):
    job, image = uuid4(), jpeg(200, 150)
    async with forgetful_proxy(postgres.port, job) as proxy:
        through = postgres.dsn_tcp(urlsplit(database).path.lstrip("/")).replace(
            f":{postgres.port}/", f":{proxy.port}/"
        )
        async with (
            api_process(through, redis_url) as api,
            processor_process(database, redis_url, slots=1),
            httpx.AsyncClient(base_url=api.url, timeout=60) as http,
        ):
            first = await http.put(f"/api/jobs/{job}?pipeline=transform", content=image)
            again = await http.put(f"/api/jobs/{job}?pipeline=transform", content=image)
            ended = await until(api.url, str(job), "succeeded", "failed")

    assert proxy.forgotten == 1
    assert (first.status_code, first.json()["retryable"], again.status_code) == (503, True, 200)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
