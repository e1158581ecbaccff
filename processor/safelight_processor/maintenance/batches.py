"""Batches of which nothing is left to run -> ended.

Who ended the last job does this at once; here is what makes sure of it.
"""

import structlog

from safelight.jobs.batches import Batches

_LIMIT = 500
_log = structlog.get_logger()


class BatchEnder:
    """Ends what has no job left."""

    name = "batches"
    interval = 5.0

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    async def run_once(self) -> None:
        """One look."""
        if keys := await self._batches.open(_LIMIT):
            for key in await self._batches.end(keys):
                _log.info("batch.ended", batch=key.id, tenant=key.tenant)
