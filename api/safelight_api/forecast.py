"""When a job will begin and end: what the processors say of themselves, and its place in the queue.

The presenter asks for a job that is shown alone; in a list nobody wants a statement for each.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime

from safelight.errors import Failure
from safelight.jobs import eta
from safelight.jobs.eta import Pace, Range
from safelight.jobs.job import Job, megapixels
from safelight.jobs.workers import Worker, Workers
from safelight.wire.resources import Eta

_FRESH = 2.0  # seconds for which the processors are believed


class Forecasts:
    """Looks at the queue and at the processors."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._seen: list[Worker] = []
        self._until = 0.0

    async def of(self, job: Job) -> tuple[int | None, Eta | None]:
        """Its place in the queue, 0 for the next, and its times, as far as they can be told."""
        with suppress(Failure):
            if job.state == "queued":
                position = await self._workers.position(job.key)
                return position, await self._waiting(job, position)
            if job.state == "running" and job.claimed_at is not None:
                pace, _ = await self._pace(job)
                ran = (datetime.now(UTC) - job.claimed_at).total_seconds()
                return None, _eta(Range(0.0, 0.0), eta.rest(ran, pace)) if pace else None
        return None, None

    async def _waiting(self, job: Job, position: int | None) -> Eta | None:
        pace, slots = await self._pace(job)
        if pace is None or position is None or not slots:
            return None
        return _eta(eta.wait(position, slots, pace), eta.rest(0.0, pace))

    async def _pace(self, job: Job) -> tuple[Pace | None, int]:
        """What its runs take, the mean of what the processors say, and how many slots there are for them."""
        if time.monotonic() >= self._until:
            self._seen = list(await self._workers.seen())
            self._until = time.monotonic() + _FRESH
        serving = [worker for worker in self._seen if job.pipeline in worker.pipelines]
        wanted = eta.size_class(megapixels(job.inputs))
        paces = [
            sizes[min(sizes, key=lambda size: abs(size - wanted))]
            for worker in serving
            if (sizes := worker.paces.get(job.pipeline))
        ]
        slots = sum(worker.slots for worker in serving)
        if not paces:
            return None, slots
        return Pace(*(sum(values) / len(paces) for values in zip(*paces, strict=True))), slots


def _eta(wait: Range, run: Range) -> Eta:
    whole = eta.total(wait, run)
    p50, p90, wait_p50, wait_p90 = (round(seconds, 1) for seconds in (*whole, *wait))
    return Eta(p50=p50, p90=p90, wait_p50=wait_p50, wait_p90=wait_p90)
