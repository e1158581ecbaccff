"""The composition root of a processor: what exists, and the list of loops that run."""

import asyncio
import faulthandler
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Protocol
from uuid import uuid4

import msgspec
import structlog

from safelight import __version__
from safelight.config import Settings
from safelight.db import migrate
from safelight.db.horizon import Watch
from safelight.db.pool import open_pool
from safelight.errors import Failure
from safelight.jobs.batches import Batches
from safelight.jobs.gates import Gates
from safelight.jobs.orphans import Orphans
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Retention
from safelight.jobs.workers import Paces, Workers
from safelight.progress import keys
from safelight.progress.announcer import Announcer
from safelight.progress.stream import Stream, connect
from safelight.progress.tail import Tail
from safelight.storage.store import open_store
from safelight.telemetry import metrics
from safelight.telemetry.health import Health, serving
from safelight.telemetry.loops import begin, supervise
from safelight.wire.key import JobKey
from safelight.wire.resources import PipelineInfo, StageInfo
from safelight_processor.child.protocol import Declaration
from safelight_processor.children import Children
from safelight_processor.claims import Claims
from safelight_processor.drain import Drain
from safelight_processor.leases import Leases
from safelight_processor.maintenance.admitter import Admitter
from safelight_processor.maintenance.batches import BatchEnder
from safelight_processor.maintenance.gauges import Gauges
from safelight_processor.maintenance.horizon import HorizonWatcher
from safelight_processor.maintenance.partitioner import Partitioner
from safelight_processor.maintenance.pruner import Pruner
from safelight_processor.maintenance.registrar import Registrar
from safelight_processor.maintenance.rescuer import Rescuer
from safelight_processor.maintenance.sweeper import Sweeper
from safelight_processor.reporter import Reporter
from safelight_processor.runs import Runs
from safelight_processor.scratch import Scratch

_LAST_SECONDS = 30  # for what is still running when a loop has died
_log = structlog.get_logger()


async def run(settings: Settings) -> None:  # noqa: PLR0915  (the list of what exists, once)
    """Claims and runs jobs until it is told to stop."""
    slots = settings.slots or os.cpu_count() or 1
    worker = uuid4()  # fresh at every start: a pod that comes back under its old name is somebody else
    async with AsyncExitStack() as stack:
        stack.callback(faulthandler.cancel_dump_traceback_later)
        pool = await stack.enter_async_context(open_pool(settings))
        redis, subscriber = connect(settings.redis_url), connect(settings.redis_url, timeout=5.0)
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(subscriber.aclose)
        queue, stream, batches = JobQueue(pool), Stream(redis), Batches(pool)
        workers, paces, retention = Workers(pool), Paces(), Retention(pool)
        store = open_store(settings.storage_url, pool)
        stack.push_async_callback(store.close)
        checks = Health(patience=1.5 * settings.database_timeout)
        await stack.enter_async_context(serving(settings.host, settings.health_port, checks))
        scratch = Scratch(settings.scratch)
        stack.callback(scratch.close)
        children = Children(slots, recycle_after=settings.recycle_after, scratch=scratch.root)
        await children.start()
        stack.push_async_callback(children.close)

        leases = Leases(queue, settings)
        reporter, announcer = Reporter(stream, leases.heartbeat), Announcer(stream)
        gates = Gates(pool, queue)
        runs = Runs(queue, gates, store, children, leases, paces, reporter, announcer, scratch, settings)
        claims = Claims(queue, batches, leases, settings, runs.execute, slots=slots, worker=worker)
        drain = Drain(claims, leases, settings.drain_seconds)
        drain.listen()
        # What every processor does for all of them.
        maintenance = (
            Registrar(workers, paces, worker, slots, lambda: claims.pipelines),
            Admitter(queue, announcer),
            BatchEnder(batches),
            Rescuer(queue, announcer, settings),
            Partitioner(retention),
            Pruner(retention, store, settings),
            Sweeper(Orphans(pool), store, settings),
            Gauges(queue, children),
            HorizonWatcher(Watch(pool), settings),
        )

        offered = _wanted(settings, children.declarations())
        runs.offers = {info.name: info for info, _ in offered}
        runs.memory = {info.name: memory for info, memory in offered}
        claims.pipelines = list(runs.offers)
        metrics.slots.set(slots)
        metrics.slots_busy.set_function(lambda: len(leases))
        metrics.build_info.labels(version=__version__, pillow=children.pillow).set(1)
        _log.info(
            "processor.started",
            slots=slots,
            worker=str(worker),
            pillow=children.pillow,
            pipelines=list(runs.offers),
        )

        def receive(channel: str, data: bytes) -> None:
            if channel == keys.CANCEL:
                leases.cancel(JobKey.parse(data.decode()))
            else:
                claims.wake()

        async def woken() -> None:
            claims.wake()

        tail = Tail(subscriber, [keys.WAKE, keys.CANCEL], receive, woken)

        async def ready() -> None:
            if children.broken.is_set():
                raise Failure("unavailable", "children cannot be started")

        loops = {
            "tail": tail.run(),
            "children": children.watch(),
            "announcer": announcer.run(),
            "reporter": reporter.run(),
            "heed": leases.heed(),
            "heartbeat": supervise("heartbeat", leases.heartbeat, settings.heartbeat_seconds, checks),
            **{service.name: _supervised(service, checks) for service in maintenance},
            "ready": supervise("ready", ready, 2.0, checks),
            "database": supervise("database", lambda: migrate.check(pool), 2.0, checks),
            "redis": supervise("redis", stream.ping, 2.0, checks),
        }
        async with asyncio.TaskGroup() as group:
            loops["claims"] = _begin(queue, claims, [info for info, _ in offered], group)
            background = [begin(group, name, loop, _die_soon) for name, loop in loops.items()]
            await drain.run()
            for task in background:
                task.cancel()
        await announcer.flush()
        with suppress(Failure):
            await workers.leave(worker)


class _Service(Protocol):
    """One of `maintenance`; it may change its interval."""

    name: str
    interval: float

    async def run_once(self) -> None:
        """One turn."""


def _supervised(service: _Service, checks: Health) -> Coroutine[None, None, None]:
    return supervise(service.name, service.run_once, lambda: service.interval, checks)


def _die_soon(loop: "asyncio.Task[None]") -> None:
    """A loop that is dead takes the process with it, whatever hangs when all else is told to stop."""
    _log.critical("loop.died", loop=loop.get_name(), exc_info=loop.exception())
    faulthandler.dump_traceback_later(_LAST_SECONDS, exit=True)


def _wanted(settings: Settings, declared: list[Declaration]) -> list[tuple[PipelineInfo, int]]:
    """What this processor offers: everything it has, or what SAFELIGHT_PIPELINES names.

    Raises:
        Failure: `setting_invalid` when a name is unknown.
    """
    wanted = {name.strip() for name in settings.pipelines.split(",") if name.strip()}
    names = {declaration.name for declaration in declared}
    if unknown := wanted - names:
        raise Failure(
            "setting_invalid",
            f"SAFELIGHT_PIPELINES: no {', '.join(sorted(unknown))} among {', '.join(sorted(names))}.",
        )
    return [(_info(item), item.memory) for item in declared if not wanted or item.name in wanted]


def _info(declared: Declaration) -> PipelineInfo:
    return PipelineInfo(
        name=declared.name,
        version=declared.version,
        title=declared.title,
        description=declared.description,
        stages=[StageInfo(stage.name, stage.weight) for stage in declared.stages],
        params=msgspec.json.decode(declared.schema),
        deadline=declared.deadline,
        max_inputs=declared.max_inputs,
        max_pixels=declared.max_pixels,
        max_attempts=declared.max_attempts,
    )


async def _begin(
    queue: JobQueue, claims: Claims, offered: list[PipelineInfo], group: asyncio.TaskGroup
) -> None:
    """Says what is offered, as soon as Postgres is there to hear it, and claims from then on."""
    registered = False
    while not (registered or claims.stopped):
        try:
            await queue.register(offered)
            registered = True
        except Failure as failure:
            _log.warning("register.waits", code=failure.code)
            await asyncio.sleep(1.0)
    await claims.run(group)
