"""Nothing but our `exchange`, 250 ends and 250 claims a statement: what its statement can do."""

from uuid import uuid4

from queues import SLOTS, Shift
from queues.safelight import ended, prepare, producer
from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.queue import JobQueue

__all__ = ["prepare", "producer", "work"]


async def work(shift: Shift) -> None:
    """One statement after the other."""
    worker, ends = uuid4(), []
    async with open_pool(Settings(database_url=shift.place.dsn)) as pool:
        queue = JobQueue(pool)
        while not shift.over.is_set():
            exchanged = await queue.exchange(ends, ["noop"], SLOTS, worker, 15.0)
            for _ in exchanged.changes:
                shift.ended()
            for _ in exchanged.leases:
                shift.began()
            ends = [ended(lease) for lease in exchanged.leases]
