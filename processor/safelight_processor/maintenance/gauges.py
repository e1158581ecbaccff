"""What waits and what runs -> metrics, every few seconds."""

from collections import Counter

from safelight.jobs.queue import JobQueue
from safelight.telemetry import metrics
from safelight_processor.children import Children


class Gauges:
    """The depth of the queue, as one processor sees it (all see the same), and its own children."""

    name = "gauges"
    interval = 5.0

    def __init__(self, queue: JobQueue, children: Children) -> None:
        self._queue = queue
        self._children = children
        self._crashes: Counter[str] = Counter()
        self._recycled = 0

    async def run_once(self) -> None:
        """One look."""
        self._count_children()
        metrics.queue_depth.clear()
        metrics.queue_oldest_age_seconds.clear()
        for depth in await self._queue.depth():
            metrics.queue_depth.labels(pipeline=depth.pipeline, state=depth.state).set(depth.jobs)
            if depth.state == "queued":
                metrics.queue_oldest_age_seconds.labels(pipeline=depth.pipeline).set(depth.oldest)

    def _count_children(self) -> None:
        counts = self._children.counts
        metrics.children_alive.set(counts.alive)
        metrics.children_recycled_total.inc(counts.recycled - self._recycled)
        self._recycled = counts.recycled
        for reason, crashes in counts.crashes.items():
            metrics.child_crashes_total.labels(reason=reason).inc(crashes - self._crashes[reason])
        self._crashes = Counter(counts.crashes)
