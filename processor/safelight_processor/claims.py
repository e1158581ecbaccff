"""Free slot -> claim -> run -> its end recorded -> free slot. One statement carries both ways.

Woken by Redis when a job is enqueued and by a run that ends; a jittered look every two seconds at
most is the floor under both. What ended while statements were under way is recorded by the next one,
together with the claim for the slots that are free then: one commit for many when it is busy, and no
waiting when it is not. A slot is free again only when the queue has recorded or refused how its run ended.
An answer that was lost may have brought jobs: `strays` hands them back, before anything else is claimed.

`app` starts the loop; `runs` executes what it claims and hands the end to `leases.complete`.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from itertools import groupby
from operator import attrgetter
from uuid import UUID

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.batches import Batches, BatchKey
from safelight.jobs.job import Change, Lease
from safelight.jobs.queue import JobQueue
from safelight.telemetry import metrics
from safelight_processor.leases import Leases, Run, Unrecorded
from safelight_processor.strays import Strays

_UNDER_WAY = 2
_log = structlog.get_logger()


class Claims:
    """The loop that keeps the slots busy, and records how their runs end."""

    def __init__(
        self,
        queue: JobQueue,
        batches: Batches,
        leases: Leases,
        settings: Settings,
        execute: Callable[[Run], Coroutine[None, None, None]],
        *,
        slots: int,
        worker: UUID,
    ) -> None:
        self._queue = queue
        self._batches = batches
        self._leases = leases
        self._settings = settings
        self._execute = execute
        self._slots = slots
        self._worker = worker
        self.strays = Strays(queue, leases, settings, worker)
        self._under_way = 0  # statements
        self._claiming = 0  # those of them that claim
        self._searching = False  # for strays, and nothing is claimed meanwhile
        self._expected = 0  # jobs that they may bring, less the runs whose end they record
        self._look = True  # there may be a job to claim
        self.pipelines: Sequence[str] = ()
        self.stopped = False
        self.finished = asyncio.Event()

    def wake(self) -> None:
        """There may be a job to claim."""
        self._look = True
        self._leases.freed.set()

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """For ever; each statement and each claimed job becomes a task of the group.

        Once `stopped`, it only records.
        """
        while True:
            self._leases.freed.clear()
            self._search(tasks)
            while self._start(tasks):
                pass
            if self.stopped and not self._under_way:
                self.finished.set()
            try:
                async with asyncio.timeout(self._settings.poll_seconds * random.uniform(0.5, 1.0)):  # noqa: S311
                    await self._leases.freed.wait()
            except TimeoutError:
                self._look = True

    def _start(self, tasks: asyncio.TaskGroup) -> bool:
        """One more statement, if there is anything for it to do.

        Two at a time, each for half of the slots at most: one is on its way while the other's runs go on.
        """
        if self._under_way == _UNDER_WAY:
            return False
        share = max(1, self._slots // _UNDER_WAY)
        ended = self._leases.take_ended(share)
        shut = self.stopped or self._searching or self.strays.due
        free = 0 if shut else self._slots - len(self._leases) + len(ended) - self._expected
        # A second statement only claims for what it frees; for the rest there is the first.
        slots = max(0, min(free, share) if self._under_way else free) if ended or self._look else 0
        if not ended and (not slots or self._under_way):
            return False
        self._look = False
        self._under_way += 1
        self._claiming += slots > 0
        self._expected += slots - len(ended)
        tasks.create_task(self._turn(ended, slots, tasks))
        return True

    def _search(self, tasks: asyncio.TaskGroup) -> None:
        """For strays, if there may be some. What a claim that is under way brings would look like one."""
        if self.strays.due and not self._claiming and not self._searching:
            self._searching = True
            tasks.create_task(self._hand_back_strays())

    async def _hand_back_strays(self) -> None:
        try:
            self._look = await self.strays.look() or self._look
        finally:
            self._searching = False
            self._leases.freed.set()

    async def _turn(self, ended: Sequence[Unrecorded], slots: int, tasks: asyncio.TaskGroup) -> None:
        """One statement: what ended is recorded, what is free is filled."""
        try:
            exchanged = await self._queue.exchange(
                [end.ended for end in ended],
                self.pipelines,
                slots,
                self._worker,
                self._settings.lease_seconds,
            )
        except Failure as failure:
            # Postgres is away. What runs goes on; new work has to wait.
            _log.warning("claim.failed", code=failure.code, cause=repr(failure.__cause__))
            if slots > 0:
                self.strays.suspect()
            for end in ended:
                end.fail(failure)
            return
        else:
            for end in ended:
                self._leases.remove(end.ended.fence)
                end.settle(exchanged.changes.get(end.ended.fence))
            self._begin(exchanged.leases, tasks)
            # When every slot was filled there may be more; else only news, or a look later on, changes that.
            self._look = self._look or len(exchanged.leases) == slots
            await self._follow_up(exchanged.changes.values())
        finally:
            self._under_way -= 1
            self._claiming -= slots > 0
            self._expected -= slots - len(ended)
            self._leases.freed.set()

    async def _follow_up(self, changes: Collection[Change]) -> None:
        """What an end brings about: room for another of a limited number, perhaps the end of a batch."""
        gated = any(change.gated for change in changes)
        batches = {BatchKey(change.key.tenant, change.batch) for change in changes if change.batch}
        try:
            if gated and await self._queue.admit():
                self._look = True
            if batches:
                await self._batches.end(batches)
        except Failure as failure:
            _log.warning("follow_up.failed", code=failure.code)  # maintenance does it, a little later

    def _begin(self, leases: Sequence[Lease], tasks: asyncio.TaskGroup) -> None:
        log = _log.bind()
        for pipeline, some in groupby(leases, key=attrgetter("pipeline")):
            waited = metrics.job_wait_seconds.labels(pipeline)
            begun = 0
            for lease in some:
                waited.observe(lease.waited)
                log.info("job.claimed", job=lease.id, pipeline=pipeline, attempt=lease.attempt)
                run = Run(lease)
                self._leases.add(run)
                if self.stopped:
                    # The claim was on its way when the drain began.
                    run.interrupt("drain")
                tasks.create_task(self._execute(run))
                begun += 1
            metrics.jobs_claimed_total.labels(pipeline).inc(begun)

    def stop(self) -> None:
        """Claims nothing more."""
        self.stopped = True
        self._leases.freed.set()
