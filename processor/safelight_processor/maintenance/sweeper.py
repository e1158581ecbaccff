"""Stored bytes that no job refers to -> removed, slowly: all keys in their order, and again from the first.

All processors together take one turn a minute, so that many of them do not list more than one does. Only
what is older than an upload can last is looked at. Next: core/safelight/jobs/orphans.py.
"""

from collections.abc import Sequence

import structlog

from safelight.config import Settings
from safelight.jobs.orphans import Bytes, Orphans
from safelight.storage.store import Found, Store
from safelight.telemetry import metrics

_DAY = 86400.0
_PAGE = 1000  # keys
_PAGES = 5  # of one turn: seven million keys a day
_log = structlog.get_logger()


class Sweeper:
    """Looks behind everybody."""

    name = "sweep"
    interval = 60.0

    def __init__(self, orphans: Orphans, store: Store, settings: Settings) -> None:
        self._orphans = orphans
        self._store = store
        self._grace = settings.orphan_days * _DAY

    async def run_once(self) -> None:
        """One turn, when it is nobody else's."""
        # Less than the interval: that is cut short by chance, and must not find its own last turn.
        after = await self._orphans.take_turn(self.interval * 0.75)
        if after is None:
            return
        for _ in range(_PAGES):
            page = await self._store.list(after, _PAGE)
            await self._remove([found for found in page if found.age > self._grace])
            after = (page[-1].tenant, page[-1].key) if len(page) == _PAGE else (0, "")
            await self._orphans.note_turn(*after)
            if after == (0, ""):
                return

    async def _remove(self, old: Sequence[Found]) -> None:
        sizes = {(found.tenant, found.key): found.bytes for found in old}
        owned = [one for found in old if (one := Bytes.of(found.tenant, found.key))]
        for orphan in await self._orphans.find(owned):
            if await self._store.delete(orphan.tenant, orphan.key):
                metrics.orphans_removed_total.inc()
                metrics.orphan_bytes_removed_total.inc(sizes[orphan.tenant, orphan.key])
                _log.info("orphan.removed", tenant=orphan.tenant, key=orphan.key)
