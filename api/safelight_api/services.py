"""What a request can reach: one bundle, made once by `app`, handed to every route."""

from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from safelight.config import Settings
from safelight.errors import CATALOGUE, Failure
from safelight.jobs.batches import Batches
from safelight.jobs.job import Job
from safelight.jobs.queue import JobQueue
from safelight.progress.announcer import Announcer
from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import Stream
from safelight.storage.store import Store
from safelight.wire.key import JobKey
from safelight_api.auth import Auth
from safelight_api.leave import Leave
from safelight_api.live.hub import Hub
from safelight_api.offers import Offers
from safelight_api.present import Presenter, overlay
from safelight_api.told import Told


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the process."""

    settings: Settings
    pool: asyncpg.Pool
    queue: JobQueue
    batches: Batches
    stream: Stream
    store: Store
    hub: Hub
    auth: Auth
    offers: Offers
    presenter: Presenter
    announcer: Announcer
    told: Told
    leave: Leave

    async def job(self, key: JobKey) -> Job:
        """The job as it is now, with the newest progress.

        Raises:
            Failure: `job_not_found`; `job_expired` when it was pruned and that is still remembered.
        """
        job = await self.queue.get(key)
        if job is None:
            await self.refuse_forgotten(key)
            raise Failure("job_not_found")
        if job.state == "running":
            with suppress(*OUTAGES):
                return overlay(job, await self.stream.latest(key))
        return job

    async def refuse_forgotten(self, key: JobKey) -> None:
        """Raises `job_expired`, with its reason, when the job was pruned and that is still remembered."""
        forgotten = await self.queue.forgotten(key)
        if forgotten is not None:
            at = forgotten.at.strftime("%Y-%m-%d %H:%M UTC")
            raise Failure(
                "job_expired",
                f"{CATALOGUE['job_expired'].message} It was forgotten on {at}.",
                reason=forgotten.reason,
            )
