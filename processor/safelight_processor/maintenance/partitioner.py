"""The days of history to come, and the months of what is remembered -> partitions, made ahead.

Should this fail for a week, history goes on in a partition of its own, from which it leaves row by row.
"""

from safelight.jobs.retention import Retention
from safelight.telemetry import metrics


class Partitioner:
    """Makes them."""

    name = "partitions"
    interval = 240.0

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    async def run_once(self) -> None:
        """Those that are not there yet."""
        metrics.history_ahead_seconds.set(await self._retention.make_partitions())
