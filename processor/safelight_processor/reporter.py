"""Progress of the runs -> Redis: coalesced, so that a chatty pipeline costs no more than a quiet one.

The child's messages mark a run as moved; every tenth of a second the newest of each is published.
The heartbeat carries the same to Postgres, every few seconds, or every second while Redis is away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from safelight.errors import Failure
from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import News, Stream, heed_cancellation
from safelight.telemetry import metrics
from safelight.wire.cursor import Cursor
from safelight_processor.leases import Run

_PACE = 0.1  # seconds between two reports of a run
_PACE_WITHOUT_REDIS = 1.0
_log = structlog.get_logger()


class Reporter:
    """What has moved since the last report."""

    def __init__(self, stream: Stream, heartbeat: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._heartbeat = heartbeat
        self._moved: dict[int, Run] = {}
        self._news = asyncio.Event()

    def moved(self, run: Run) -> None:
        """A run is further than before."""
        self._moved[id(run)] = run
        self._news.set()

    def over(self, run: Run) -> None:
        """A run has ended: its progress is of no interest any more."""
        self._moved.pop(id(run), None)

    async def run(self) -> None:
        """For ever."""
        while True:
            heed_cancellation()
            await self._news.wait()
            self._news.clear()
            if await self.report():
                await asyncio.sleep(_PACE)
                continue
            await asyncio.sleep(_PACE_WITHOUT_REDIS)
            with suppress(Failure):
                await self._heartbeat()

    async def report(self) -> bool:
        """Publishes the newest of every run that has moved, once; False when Redis is away."""
        moved, self._moved = self._moved, {}
        for run in moved.values():
            cursor = Cursor(run.lease.epoch, run.lease.seq, run.n)
            try:
                await self._stream.publish(News(run.lease.key, cursor, run.frame))
            except OUTAGES as error:
                metrics.publish_failures_total.inc()
                _log.debug("progress.lost", error=str(error))
                return False
            metrics.events_published_total.labels(type="progress").inc()
        return True
