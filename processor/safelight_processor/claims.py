"""Free slot -> claim -> run. As many jobs are claimed as there are free slots, never more.

Woken by Redis when a job is enqueued and by a run that ends; a jittered look every two seconds at
most is the floor under both.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from uuid import UUID

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.job import Lease
from safelight.jobs.queue import JobQueue
from safelight.telemetry import metrics
from safelight_processor.leases import Leases, Run

_log = structlog.get_logger()


class Claims:
    """The loop that keeps the slots busy."""

    def __init__(
        self,
        queue: JobQueue,
        leases: Leases,
        settings: Settings,
        execute: Callable[[Run], Coroutine[None, None, None]],
        *,
        slots: int,
        worker: UUID,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._settings = settings
        self._execute = execute
        self._slots = slots
        self._worker = worker
        self.pipelines: Sequence[str] = ()
        self.wake = leases.freed
        self.stopped = False
        self.finished = asyncio.Event()

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Until `stopped`; each claimed job becomes a task of the group."""
        while not self.stopped:
            self.wake.clear()
            try:
                full = await self._claim(tasks)
            except Failure as failure:
                # Postgres is away. What runs goes on; new work has to wait.
                _log.warning("claim.failed", code=failure.code, cause=repr(failure.__cause__))
                full = False
            # When every free slot was filled, or none is free, only a run that ends changes that.
            pause = None if full else self._settings.poll_seconds * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                async with asyncio.timeout(pause):
                    await self.wake.wait()
            except TimeoutError:
                pass
        self.finished.set()

    async def _claim(self, tasks: asyncio.TaskGroup) -> bool:
        free = self._slots - len(self._leases)
        if free <= 0:
            return True
        leases = await self._queue.claim(self.pipelines, free, self._worker, self._settings.lease_seconds)
        for lease in leases:
            self._begin(lease, tasks)
        return len(leases) == free

    def _begin(self, lease: Lease, tasks: asyncio.TaskGroup) -> None:
        metrics.jobs_claimed_total.labels(pipeline=lease.pipeline).inc()
        metrics.job_wait_seconds.labels(pipeline=lease.pipeline).observe(lease.waited)
        _log.info("job.claimed", job=str(lease.id), pipeline=lease.pipeline, attempt=lease.attempt)
        run = Run(lease)
        self._leases.add(run)
        if self.stopped:
            # The claim was on its way when the drain began.
            run.interrupt("drain")
        tasks.create_task(self._execute(run))

    def stop(self) -> None:
        """Claims nothing more."""
        self.stopped = True
        self.wake.set()
