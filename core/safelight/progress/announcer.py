"""Tells the other processes what this one has done: a job is waiting, a job changed, a run should stop.

Called by the API's routes and the processor's runs, after Postgres has it. It keeps nobody waiting
and fails nobody: what is not told in time is found by the others' own look at Postgres.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import News, Stream, heed_cancellation
from safelight.telemetry import metrics
from safelight.wire.key import JobKey

_LULL = 0.002  # seconds between two wake-ups
_MOST = 1000  # pieces of news that wait; beyond that the polling floor carries them
_log = structlog.get_logger()


class Announcer:
    """A bounded queue of things to tell, and the loop that tells them in order."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue(_MOST)
        self._woken = False
        self._woken_at = 0.0

    def wake(self) -> None:
        """A job is waiting. The first of a burst is told at once, the others together, a moment later."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_at(self._woken_at + _LULL, self._put_wake)

    def cancel(self, key: JobKey) -> None:
        """A run was asked to stop."""
        self._put(lambda: self._stream.cancel(key))

    def publish(self, news: News) -> None:
        """Something that the watchers of a job are told."""
        self._put(lambda: self._stream.publish(news))

    async def run(self) -> None:
        """For ever; an outage of Redis costs the news of that time, nothing else."""
        while True:
            heed_cancellation()
            tell = await self._waiting.get()
            try:
                await tell()
            except OUTAGES as error:
                metrics.publish_failures_total.inc()
                _log.debug("news.lost", error=str(error))

    async def flush(self) -> None:
        """What waits is told now, as far as Redis is there; for the end of a process."""
        try:
            while not self._waiting.empty():
                await self._waiting.get_nowait()()
            if self._woken:  # its moment has not come yet
                await self._wake()
        except OUTAGES:
            return

    async def _wake(self) -> None:
        self._woken, self._woken_at = False, asyncio.get_running_loop().time()
        await self._stream.wake()

    def _put_wake(self) -> None:
        self._woken = self._put(self._wake)

    def _put(self, tell: Callable[[], Awaitable[object]]) -> bool:
        try:
            self._waiting.put_nowait(tell)
        except asyncio.QueueFull:
            metrics.publish_failures_total.inc()
            return False
        return True
