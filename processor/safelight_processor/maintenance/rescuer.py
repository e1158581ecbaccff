"""Runs whose lease has expired -> back to the queue, or to their end when no attempt is left."""

import asyncio

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.queue import JobQueue
from safelight.progress.announcer import Announcer
from safelight.progress.stream import News
from safelight.telemetry import metrics

_LIMIT = 100
_log = structlog.get_logger()


class Rescuer:
    """Takes back what nobody renews."""

    name = "rescue"
    interval = 1.0

    def __init__(self, queue: JobQueue, announcer: Announcer, settings: Settings) -> None:
        self._queue = queue
        self._announcer = announcer
        self._patience = settings.heartbeat_seconds
        self._answering_since: float | None = None

    async def run_once(self) -> None:
        """One look; more than one when there is much to take back."""
        now = asyncio.get_running_loop().time()
        if self._answering_since is None:
            self._answering_since = now
        # After an outage of the database every lease has expired, of living runs too: one heartbeat first.
        if now - self._answering_since < self._patience:
            await self._queue.depth()
            return
        try:
            while await self._rescue() == _LIMIT:
                pass
        except Failure:
            self._answering_since = None
            raise

    async def _rescue(self) -> int:
        changes = await self._queue.rescue(_LIMIT)
        for change in changes:
            metrics.jobs_rescued_total.inc()
            _log.warning("job.rescued", job=str(change.key.id), state=change.state, worker=str(change.worker))
            self._announcer.publish(News(change.key, change.cursor, change.frame(change.traceparent)))
        if changes:
            self._announcer.wake()
        return len(changes)
