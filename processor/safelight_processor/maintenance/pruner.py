"""Jobs that ended long ago -> forgotten, and their bytes with them; bytes of unfinished uploads too."""

import structlog

from safelight.config import Settings
from safelight.jobs.queue import JobQueue
from safelight.storage.store import Store

_LIMIT = 200
_DAY = 86400.0
_log = structlog.get_logger()


class Pruner:
    """Makes room."""

    name = "prune"
    interval = 300.0

    def __init__(self, queue: JobQueue, store: Store, settings: Settings) -> None:
        self._queue = queue
        self._store = store
        self._retention = settings.retention_days * _DAY

    async def run_once(self) -> None:
        """Everything whose time is over."""
        while keys := await self._queue.prune(self._retention, _LIMIT):
            for key in keys:
                await self._store.delete(key.tenant, f"{key.id}/")
            _log.info("jobs.pruned", jobs=len(keys))
        await self._store.prune(_DAY)
