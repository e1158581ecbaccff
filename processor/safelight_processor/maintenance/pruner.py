"""Jobs that ended long ago -> forgotten, then their bytes go, then their days of history.

Where it is in the order of ends it keeps in mind. A processor that starts goes through all that is there
once; what one that died has left behind is found by all others. Next: core/safelight/jobs/retention.py.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.retention import Debris, Retention, beginning
from safelight.storage.store import Store
from safelight.telemetry import metrics

_CALM, _BUSY = 300.0, 1.0  # seconds until the next run: when all was done, when it was not
_SECONDS = 20.0  # of one run, about
_LIMIT = 200  # ends of a page, jobs whose bytes are removed, batches
_DAY = 86400.0
_LEFT_BEHIND = 900.0  # seconds after which nobody is still about to remove bytes
# An end is dated by the beginning of its transaction, and may be seen as much later as that took.
_LATE = timedelta(minutes=5)
_log = structlog.get_logger()


class Pruner:
    """Makes room, a good part of it in each run; `interval` says when to go on."""

    name = "prune"

    def __init__(self, retention: Retention, store: Store, settings: Settings) -> None:
        self._retention = retention
        self._store = store
        self._seconds = settings.retention_days * _DAY
        self._remember = settings.forgotten_days * _DAY
        # Days are the smallest that is dropped; who keeps jobs for less than one does not wait for that.
        self._by_row = self._seconds < _DAY
        self._after = beginning()
        self._away: Failure | None = None  # the store, in this run
        self.interval = _CALM

    async def run_once(self) -> None:
        """Whose time is over goes."""
        self._away, self.interval = None, _CALM
        left_behind = await self._retention.debris(_LEFT_BEHIND, _LIMIT)
        await self._remove(left_behind)
        before = await self._retention.cutoff(self._seconds)
        if await self._forget(before):
            await self._drop(before)
        if _LIMIT in (len(left_behind), await self._retention.prune_batches(before, _LIMIT)):
            self.interval = _BUSY
        if self._away is not None:
            raise self._away
        await self._store.prune(_DAY)

    async def _forget(self, before: datetime) -> bool:
        """Goes on from where the last run ended; whether every end before that time was gone through."""
        clock = asyncio.get_running_loop().time
        stop_at = clock() + _SECONDS
        here, left = self._after, None  # left: from where on there is a job that somebody else had
        while True:
            page = await self._retention.prune(here, before, by_row=self._by_row, limit=_LIMIT)
            await self._remove(page.forgotten)
            if page.forgotten:
                metrics.jobs_pruned_total.inc(len(page.forgotten))
                _log.info("jobs.pruned", jobs=len(page.forgotten))
            if left is None and not page.whole:
                left = here
            if page.end is None:
                late = beginning(before - _LATE)
                self._after = min(left or late, late)
                return left is None
            here = page.end
            if clock() >= stop_at:
                self._after, self.interval = left or here, _BUSY
                return False

    async def _drop(self, before: datetime) -> None:
        if days := await self._retention.drop_days(before):
            metrics.partitions_dropped_total.labels(table="done").inc(len(days))
            _log.info("history.dropped", days=days)
            self._after = beginning()  # what was kept of a day lies elsewhere now
        if months := await self._retention.drop_months(self._remember):
            metrics.partitions_dropped_total.labels(table="forgotten").inc(len(months))
            _log.info("forgotten.dropped", months=months)

    async def _remove(self, debris: Sequence[Debris]) -> None:
        """The bytes of forgotten jobs; a store that is away is tried again in the next run."""
        if self._away is not None or not debris:
            return
        try:
            for one in debris:
                for key in one.keys:
                    await self._store.delete(one.tenant, key)
        except Failure as failure:
            self._away = failure
            _log.warning("debris.left", jobs=len(debris), code=failure.code)
        else:
            await self._retention.clear(debris)
