"""A claim whose answer was lost -> the jobs that it took are handed back, and no attempt is burnt.

Postgres has committed, the connection broke: this worker holds leases of which it never heard. Nobody would
run these jobs until they expire, and the attempt would count. `claims` says when an answer was lost, and
looks as soon as no other claim is under way; `drain` waits until there is nothing more to find.

A claim that was given up may still be at work in the server, so one look may come too early: looks go on
until the server has ended it (its own time limit), or until what it took would have expired.
"""

import asyncio
from uuid import UUID

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.queue import JobQueue
from safelight_processor.leases import Leases

_PAUSE = 1.0  # seconds between two looks
_log = structlog.get_logger()


class Strays:
    """What this worker may hold and does not know of."""

    def __init__(self, queue: JobQueue, leases: Leases, settings: Settings, worker: UUID) -> None:
        self._worker = worker
        self._queue = queue
        self._leases = leases
        self._limit = min(settings.database_timeout, settings.lease_seconds)
        self._lease = settings.lease_seconds
        self._lost = 0  # answers
        self._lost_at = 0.0
        self._next = 0.0
        self.settled = asyncio.Event()  # there are none
        self.settled.set()

    @property
    def due(self) -> bool:
        """Whether it is time for a look."""
        return self._lost > 0 and asyncio.get_running_loop().time() >= self._next

    def suspect(self) -> None:
        """The answer to a claim was lost."""
        self.settled.clear()
        self._lost += 1
        self._lost_at = asyncio.get_running_loop().time()
        self._next = max(self._next, self._lost_at)

    async def look(self) -> bool:
        """Hands back what is found; False when Postgres is away. No claim may be under way."""
        began = asyncio.get_running_loop().time()
        self._next = began + _PAUSE
        known = [run.lease.fence for run in self._leases]
        try:
            found = await self._queue.release_strays(self._worker, known)
        except Failure as failure:
            _log.warning("strays.wait", code=failure.code)
            self._found(0, over=began >= self._lost_at + self._lease)
            return False
        for change in found:
            _log.warning("job.released", job=str(change.key.id), state=change.state, why="claim unheard")
        self._found(len(found), over=began >= self._lost_at + self._limit)
        return True

    def _found(self, strays: int, *, over: bool) -> None:
        # A claim is one commit: where something of it is found, nothing more of it can come.
        self._lost = 0 if over else self._lost - (strays > 0)
        if not self._lost:
            self.settled.set()
