"""What holds back vacuum -> metrics, and a warning when it does for long. docs/operations.md: what to do.

Every processor looks for itself; what is seen is the same.
"""

import structlog

from safelight.config import Settings
from safelight.db.horizon import Watch
from safelight.telemetry import metrics

_log = structlog.get_logger()


class HorizonWatcher:
    """Looks at it."""

    name = "horizon"
    interval = 30.0

    def __init__(self, watch: Watch, settings: Settings) -> None:
        self._watch = watch
        self._limit = settings.horizon_seconds

    async def run_once(self) -> None:
        """One look."""
        horizon = await self._watch.look()
        metrics.database_horizon_seconds.set(horizon.seconds)
        metrics.database_horizon_transactions.set(horizon.transactions)
        metrics.ready_dead_tuples.set(horizon.dead_tuples)
        if horizon.seconds > self._limit:
            _log.warning(
                "horizon.held",
                seconds=round(horizon.seconds),
                transactions=horizon.transactions,
                holder=horizon.holder,
                dead_tuples=horizon.dead_tuples,
            )
