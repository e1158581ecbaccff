"""The composition root: what exists in an API process, who holds it, and how long it lives.

`create` is called in each worker process (`worker`). The loops of a process are listed in one
TaskGroup; one that ends unexpectedly ends the process, and the supervisor starts a new one.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import structlog
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from safelight import __version__
from safelight.config import Settings
from safelight.db import migrate
from safelight.db.pool import open_pool
from safelight.jobs.batches import Batches
from safelight.jobs.queue import JobQueue
from safelight.jobs.workers import Workers
from safelight.keys.keys import ApiKeys
from safelight.progress import keys
from safelight.progress.announcer import Announcer
from safelight.progress.stream import Stream, connect
from safelight.progress.tail import Tail
from safelight.storage.store import open_store
from safelight.telemetry import logs
from safelight.telemetry.health import Health
from safelight.telemetry.loops import begin, supervise
from safelight_api import problems
from safelight_api.auth import Auth
from safelight_api.forecast import Forecasts
from safelight_api.leave import Leave
from safelight_api.live import sockets
from safelight_api.live.hub import Hub
from safelight_api.observe import Observe
from safelight_api.offers import Offers
from safelight_api.present import Presenter
from safelight_api.routes import batches, events, health, jobs, live, outputs, page, pipelines, submit
from safelight_api.services import Services
from safelight_api.told import Told

_log = structlog.get_logger()

ROUTES = [
    submit.submit,
    submit.submit_as,
    jobs.read,
    jobs.index,
    jobs.cancel,
    jobs.retry,
    events.events,
    outputs.output,
    outputs.input_,
    jobs.retry_failed,
    batches.create,
    batches.create_as,
    batches.read,
    batches.jobs,
    batches.cancel,
    batches.retry,
    pipelines.pipelines,
    pipelines.problems,
    live.live,
    health.livez,
    health.readyz,
    health.metrics_,
    *page.ROUTES,
]


def create() -> Litestar:
    """The application of one worker process, configured by the environment."""
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format, "api")
    return build(settings)


def build(settings: Settings) -> Litestar:
    """The application for given settings. How it goes is in its state: `leave`."""
    leave = Leave(settings, sockets.count)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with run(settings, leave) as (services, checks):
            app.state.services = services
            app.state.health = checks
            yield

    return Litestar(
        ROUTES,
        lifespan=[lifespan],
        dependencies={
            "services": Provide(_services, sync_to_thread=False),
            "health": Provide(_health, sync_to_thread=False),
        },
        exception_handlers={Exception: problems.answer},
        middleware=[Observe()],
        openapi_config=OpenAPIConfig(
            title="Safelight",
            version=__version__,
            path="/api",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        on_app_init=[_quiet],
        state=State({"leave": leave}),
    )


def _services(state: State) -> Services:
    return cast("Services", state.services)


def _health(state: State) -> Health:
    return cast("Health", state.health)


_DAY = 86400
# Of the time for which a job is kept: so long its result answers others, who have the rest to fetch it.
_REUSED = 0.5


def _quiet(config: AppConfig) -> AppConfig:
    """Our own handler says what went wrong, in our own log."""
    config.logging_config = None
    return config


@asynccontextmanager
async def run(settings: Settings, leave: Leave) -> AsyncIterator[tuple[Services, Health]]:
    """Everything that lives as long as the process, started and stopped in order."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings))
        redis, subscriber = connect(settings.redis_url), connect(settings.redis_url, timeout=5.0)
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(subscriber.aclose)
        queue, stream = JobQueue(pool, reuse_seconds=_REUSED * _DAY * settings.retention_days), Stream(redis)
        auth = Auth(settings, ApiKeys(pool))
        hub = Hub(queue, lambda: tail.connected, settings.ping_seconds)
        tail = Tail(subscriber, [keys.LIVE], hub.receive, hub.resync)
        services = Services(
            settings=settings,
            pool=pool,
            queue=queue,
            batches=Batches(pool),
            stream=stream,
            store=open_store(settings.storage_url, pool),
            hub=hub,
            auth=auth,
            offers=Offers(queue),
            presenter=Presenter(settings, auth, Forecasts(Workers(pool))),
            announcer=Announcer(stream),
            told=Told(),
            leave=leave,
        )
        stack.push_async_callback(services.store.close)
        checks = Health(patience=1.5 * settings.database_timeout)
        loops = asyncio.create_task(_loops(services, tail, checks))
        stack.push_async_callback(_stop, loops)
        leave.notice = checks.stop
        yield services, checks


async def _loops(services: Services, tail: Tail, checks: Health) -> None:
    """The table of contents of a process: everything that runs beside the requests."""
    async with asyncio.TaskGroup() as group:
        for name, loop in {
            "tail": tail.run(),
            "announcer": services.announcer.run(),
            "reconcile": supervise(
                "reconcile", services.hub.reconcile, lambda: services.hub.interval, checks
            ),
            "database": supervise("database", lambda: migrate.check(services.pool), 2.0, checks),
            "redis": supervise("redis", services.stream.ping, 2.0, checks),
        }.items():
            begin(group, name, loop, _die)


def _die(loop: "asyncio.Task[None]") -> None:
    """A loop that is dead makes the process deaf; a deaf process must not go on answering."""
    _log.critical("loop.died", loop=loop.get_name(), exc_info=loop.exception())
    os.kill(os.getpid(), signal.SIGKILL)


async def _stop(loops: "asyncio.Task[None]") -> None:
    loops.cancel()
    await asyncio.gather(loops, return_exceptions=True)
