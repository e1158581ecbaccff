"""What goes wrong, one after the other: each fault begins, lasts for as long as its block, and is over.

`campaign` gives each its window. A fault says itself when its cause was gone (`Window.over`), which is at
its very beginning where it is a single blow.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import asyncpg
import httpx
from redis.asyncio import Redis

from chaos.campaign.real import Images
from chaos.campaign.stage import Stage
from support.watching import metric

CONNECTIONS: Final = 300
_SESSIONS = "select pid from pg_stat_activity where datname = $1 and backend_type = 'client backend'"
_RESCUED = "select count(*) from attempt where reason = 'rescued'"
_OPENERS = 20
_PATIENCE = 30.0  # seconds, until a fault has had the effect that makes it one


@dataclass
class Window:
    """When the cause of what goes wrong was gone, in seconds since 1970; what else is worth a word."""

    gone: float | None = None
    word: str = ""

    def over(self, word: str = "") -> None:
        """Now."""
        self.gone = time.time()
        self.word = word


@dataclass(frozen=True)
class Fault:
    """One kind of it; `seconds` are how long it usually lasts."""

    name: str
    happens: Callable[[Stage, Window], AbstractAsyncContextManager[None]]
    seconds: float = 4.0

    def lasts(self, stage: Stage) -> float:
        """In this campaign."""
        return self.seconds * stage.plan.scale


@asynccontextmanager
async def _again_and_again(act: Callable[[], Awaitable[object]], pause: float) -> AsyncIterator[None]:
    """Does it now and after every pause, for as long as the block lasts."""

    async def go_on() -> None:
        while True:
            await act()
            await asyncio.sleep(pause)

    going_on = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going_on.cancel()
        await asyncio.wait({going_on})
    if not going_on.cancelled():
        going_on.result()


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not is_so():
            await asyncio.sleep(0.02)


# Workers


@asynccontextmanager
async def worker_killed(stage: Stage, window: Window) -> AsyncIterator[None]:
    """SIGKILL, once."""
    stage.crew.next().kill()
    window.over()
    yield


@asynccontextmanager
async def workers_killed_again_and_again(stage: Stage, window: Window) -> AsyncIterator[None]:
    """SIGKILL, every third of a lease, another one each time."""

    async def kill() -> None:
        stage.crew.next().kill()

    before = stage.crew.restarts
    async with _again_and_again(kill, stage.plan.lease / 3):
        yield
    window.over(f"{stage.crew.restarts - before} restarts")


@asynccontextmanager
async def worker_frozen(stage: Stage, window: Window) -> AsyncIterator[None]:
    """SIGSTOP until long after its leases have expired: what it still says of them must be refused."""
    worker = stage.crew.next()
    await worker.until_ready()
    refused, rescued = await _refused(worker.url), await stage.watch.count(_RESCUED)
    worker.sigstop()
    try:
        yield
        async with asyncio.timeout(_PATIENCE):
            while await stage.watch.count(_RESCUED) == rescued:
                await asyncio.sleep(0.05)
    finally:
        worker.sigcont()
    window.over()
    async with asyncio.timeout(_PATIENCE):
        while (late := await _refused(worker.url) - refused) <= 0:
            await asyncio.sleep(0.05)
    window.word = f"{late:g} late writes refused"


async def _refused(url: str) -> float:
    async with httpx.AsyncClient(timeout=10) as http:
        return metric((await http.get(f"{url}/metrics")).text, "safelight_leases_lost_total")


# Postgres


@asynccontextmanager
async def postgres_restarted(stage: Stage, window: Window) -> AsyncIterator[None]:
    """In order, at once: every session is ended."""
    await asyncio.to_thread(stage.postgres.stop)
    stage.postgres.start()  # in this thread: what is started ends with its thread
    window.over()
    yield


@asynccontextmanager
async def postgres_crashed(stage: Stage, window: Window) -> AsyncIterator[None]:
    """Killed; it recovers from its log."""
    await asyncio.to_thread(stage.postgres.kill)
    stage.postgres.start()
    window.over()
    yield


@asynccontextmanager
async def backends_terminated(stage: Stage, window: Window) -> AsyncIterator[None]:
    """Five a second, whatever they are doing."""
    admin = await asyncpg.connect(stage.postgres.dsn())
    ended = 0

    async def terminate() -> None:
        nonlocal ended
        if pids := [row[0] for row in await admin.fetch(_SESSIONS, stage.name)]:
            ended += await admin.fetchval("select pg_terminate_backend($1)", random.choice(pids))

    try:
        async with _again_and_again(terminate, 0.2):
            yield
    finally:
        await admin.close()
    window.over(f"{ended} terminated")


@asynccontextmanager
async def connections_taken(stage: Stage, window: Window) -> AsyncIterator[None]:
    """Three hundred idle ones are asked for; whatever becomes free is taken too."""
    taken: list[asyncpg.Connection] = []

    async def take() -> None:
        while len(taken) < CONNECTIONS:
            with suppress(asyncpg.TooManyConnectionsError):
                taken.append(await asyncpg.connect(stage.postgres.dsn()))
                continue
            await asyncio.sleep(0.1)

    taking = [asyncio.create_task(take()) for _ in range(_OPENERS)]
    try:
        yield
    finally:
        for task in taking:
            task.cancel()
        await asyncio.gather(*taking, return_exceptions=True)
        for connection in taken:
            connection.terminate()
    window.over(f"{len(taken)} of {CONNECTIONS} granted")


@asynccontextmanager
async def horizon_held(stage: Stage, window: Window) -> AsyncIterator[None]:
    """A snapshot is kept, by a session without limits: vacuum can remove nothing that is newer."""
    connection = await asyncpg.connect(stage.database)
    try:
        await connection.execute("set idle_in_transaction_session_timeout = 0; set transaction_timeout = 0")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.fetchval("select count(*) from ready")
            yield
        dead = await connection.fetchval("select n_dead_tup from pg_stat_all_tables where relname = 'ready'")
    finally:
        await connection.close()
    window.over(f"{dead} dead rows in ready")


# Redis


@asynccontextmanager
async def redis_down(stage: Stage, window: Window) -> AsyncIterator[None]:
    """Killed, and away for as long as it lasts."""
    stage.redis.kill()
    try:
        yield
    finally:
        stage.redis.start()
    window.over()


@asynccontextmanager
async def redis_flushed(stage: Stage, window: Window) -> AsyncIterator[None]:
    """FLUSHALL."""
    async with Redis.from_url(stage.redis.url) as client:
        await client.flushall()
    window.over()
    yield


@asynccontextmanager
async def redis_restarted(stage: Stage, window: Window) -> AsyncIterator[None]:
    """Killed and back at once, empty."""
    stage.redis.kill()
    stage.redis.start()
    window.over()
    yield


# The disk, and the wire


@asynccontextmanager
async def disk_full(stage: Stage, window: Window) -> AsyncIterator[None]:
    """The real processor cannot write what it has to work on; then it can again."""
    images = Images(stage, stage.plan.images)
    images.fill_disk()
    try:
        await images.submit()
        await images.until_handed_back()
        yield
    finally:
        images.make_room()
    window.over()
    await images.until_ended()
    window.word = f"{images.count} images, handed back {images.handed_back} times"


@asynccontextmanager
async def enqueue_unheard(stage: Stage, window: Window) -> AsyncIterator[None]:
    """Some clients often do not hear that their jobs were committed."""
    async with _answers_lost(stage, window, b"enqueue("):
        yield


@asynccontextmanager
async def exchange_unheard(stage: Stage, window: Window) -> AsyncIterator[None]:
    """A worker often does not hear that its ends and claims were committed."""
    async with _answers_lost(stage, window, b"exchange("):
        yield


@asynccontextmanager
async def _answers_lost(stage: Stage, window: Window, word: bytes) -> AsyncIterator[None]:
    proxy = stage.proxy
    before = proxy.lost

    async def lose() -> None:
        proxy.lose(word)

    async with _again_and_again(lose, 0.1):
        yield
        await _until(lambda: proxy.lost > before)
    proxy.lose(None)
    window.over(f"{proxy.lost - before} answers lost")


FAULTS: Final = (
    Fault("worker killed", worker_killed),
    Fault("workers killed, one a second", workers_killed_again_and_again, 10.0),
    Fault("worker frozen past its lease", worker_frozen),
    Fault("Postgres restarted", postgres_restarted),
    Fault("Postgres crashed", postgres_crashed),
    Fault("5 backends terminated a second", backends_terminated, 60.0),
    Fault("300 idle connections", connections_taken),
    Fault("horizon held", horizon_held, 10.0),
    Fault("Redis down", redis_down),
    Fault("Redis flushed", redis_flushed, 2.0),
    Fault("Redis restarted empty", redis_restarted, 2.0),
    Fault("scratch disk full", disk_full, 3.0),
    Fault("enqueue commits unheard", enqueue_unheard),
    Fault("exchange commits unheard", exchange_unheard),
)
