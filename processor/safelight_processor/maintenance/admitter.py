"""Gated jobs for which there is room, or whose pause or delay is over -> claimable.

`claims` does this as soon as a run ends; here is what makes sure of it.
"""

import structlog

from safelight.jobs.queue import JobQueue
from safelight.progress.announcer import Announcer

_log = structlog.get_logger()


class Admitter:
    """Lets in what may come."""

    name = "admit"
    interval = 1.0

    def __init__(self, queue: JobQueue, announcer: Announcer) -> None:
        self._queue = queue
        self._announcer = announcer

    async def run_once(self) -> None:
        """Everything for which there is room."""
        while admitted := await self._queue.admit():
            _log.info("jobs.admitted", jobs=admitted)
            self._announcer.wake()
