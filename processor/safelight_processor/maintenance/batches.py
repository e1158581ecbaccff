"""Batches of which nothing is left to run -> ended.

Who ended the last job does this at once; here is what makes sure of it.
"""

from datetime import datetime
from uuid import UUID

import structlog

from safelight.jobs.batches import Batches

_LIMIT = 500
_log = structlog.get_logger()


class BatchEnder:
    """Ends what has no job left."""

    name = "batches"
    interval = 5.0

    def __init__(self, batches: Batches, *, most: int = _LIMIT) -> None:
        self._batches = batches
        self._most = most
        # A page a look: those whose clients went before they had submitted all jobs are in nobody's way.
        self._after: tuple[datetime, UUID] | None = None

    async def run_once(self) -> None:
        """One look."""
        keys, self._after = await self._batches.open(self._most, self._after)
        if keys:
            for key in await self._batches.end(keys):
                _log.info("batch.ended", batch=key.id, tenant=key.tenant)
