"""What a request can reach: one bundle, made once by `app`, handed to every route."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.batches import Batches
from safelight.jobs.job import Job
from safelight.jobs.queue import JobQueue
from safelight.progress.announcer import Announcer
from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import Stream
from safelight.storage.store import Store
from safelight.wire.key import JobKey
from safelight.wire.uuid7 import made_at
from safelight_api.auth import Auth
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
    stopping: asyncio.Event

    async def job(self, key: JobKey) -> Job:
        """The job as it is now, with the newest progress.

        Raises:
            Failure: `job_not_found`; `job_expired` when its id tells that it is older than what is kept.
        """
        job = await self.queue.get(key)
        if job is None:
            raise self._gone(key)
        if job.state == "running":
            with suppress(*OUTAGES):
                return overlay(job, await self.stream.latest(key))
        return job

    def _gone(self, key: JobKey) -> Failure:
        made = made_at(key.id)
        old = made is not None and made < time.time() - self.settings.retention_days * 86400
        return Failure("job_expired" if old else "job_not_found")
