"""The runs of this process and their leases: one heartbeat for all, which also carries their progress.

`claims` puts runs in; `runs` says how each ended, and `claims` records it. A lease that the database
no longer knows is lost: its run is stopped, and whatever it still says will be refused.
"""

import asyncio
from collections.abc import Iterator

import structlog

from safelight.config import Settings
from safelight.errors import Failure
from safelight.jobs.job import Beat, Change, Ended, Fence, Lease
from safelight.jobs.queue import JobQueue
from safelight.progress.stream import heed_cancellation
from safelight.telemetry import metrics
from safelight.wire.cursor import Cursor
from safelight.wire.frames import ProgressFrame
from safelight.wire.key import JobKey
from safelight_processor.outcome import Why

_log = structlog.get_logger()


class Run:
    """A job that this process runs: its lease, how far it is, and whether it was told to stop."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.progress = 0.0
        self.n = 0
        self.stage: str | None = None
        self.status: str | None = None
        self.interruption: Why | None = None
        self._work: asyncio.Task[object] | None = None

    def advance(self, progress: float, stage: str, status: str) -> None:
        """The child is further; progress never falls within a run."""
        self.progress = max(self.progress, progress)
        self.n, self.stage, self.status = self.n + 1, stage, status

    def working(self, task: "asyncio.Task[object]") -> None:
        """The part of the run that may be interrupted; what follows it, may not."""
        self._work = task
        if self.interruption is not None:
            task.cancel()

    def interrupt(self, why: Why) -> None:
        """Stops the work. The first reason counts, except that a lost lease beats all."""
        if self.interruption is None or why == "lease_lost":
            self.interruption = why
        if self._work is not None:
            self._work.cancel()

    @property
    def beat(self) -> Beat:
        """Its line in the heartbeat."""
        return Beat(
            fence=self.lease.fence,
            progress=self.progress,
            progress_n=self.n,
            stage=self.stage,
            status=self.status,
        )

    @property
    def frame(self) -> ProgressFrame:
        """What its watchers are told."""
        cursor = Cursor(self.lease.epoch, self.lease.seq, self.n)
        return ProgressFrame(
            job=str(self.lease.id),
            cursor=str(cursor),
            traceparent=self.lease.traceparent,
            attempt=self.lease.attempt,
            progress=round(self.progress, 1),
            stage=self.stage or "",
            status=self.status or "",
        )


class Unrecorded:
    """How a run ended, while the queue has not said whether it counts."""

    def __init__(self, ended: Ended) -> None:
        self.ended = ended
        self._said: asyncio.Future[Change | None] = asyncio.get_running_loop().create_future()

    def settle(self, change: Change | None) -> None:
        """It was recorded, or refused because the lease was lost."""
        if not self._said.done():
            self._said.set_result(change)

    def fail(self, failure: Failure) -> None:
        """Nobody knows whether it was recorded."""
        if not self._said.done():
            self._said.set_exception(failure)

    async def said(self) -> Change | None:
        """Waits for it."""
        return await self._said


class Leases:
    """The live runs, by their fence."""

    def __init__(self, queue: JobQueue, settings: Settings) -> None:
        self._queue = queue
        self._seconds = settings.lease_seconds
        self._patience = settings.heartbeat_seconds
        self._runs: dict[Fence, Run] = {}
        self._ended: list[Unrecorded] = []
        self.freed = asyncio.Event()  # a slot is free, or an end waits to be recorded
        self._asked = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    def add(self, run: Run) -> None:
        """A run begins."""
        self._runs[run.lease.fence] = run
        self.empty.clear()

    def remove(self, fence: Fence) -> None:
        """A run is over, and the queue knows. Saying so twice does no harm."""
        if self._runs.pop(fence, None) is not None:
            self.freed.set()
            if not self._runs:
                self.empty.set()

    async def complete(self, ended: Ended) -> Change | None:
        """Has the end of a run recorded; None when its lease was lost. Its slot is free then.

        Raises:
            Failure: `unavailable`; then it is not known whether it was recorded.
        """
        end = Unrecorded(ended)
        self._ended.append(end)
        self.freed.set()
        return await end.said()

    def take_ended(self, most: int) -> list[Unrecorded]:
        """The oldest ends that wait to be recorded; the caller says what became of each."""
        ended, self._ended = self._ended[:most], self._ended[most:]
        return ended

    def cancel(self, key: JobKey) -> None:
        """Word has come that a person asked for the job to stop.

        Only a hint: it may be late, and meant for a run before this one. The next heartbeat, which comes at
        once, knows whether it is true.
        """
        if any(run.lease.key == key for run in self):
            self._asked.set()

    async def heed(self) -> None:
        """For ever: looks at once when word of a cancel has come."""
        while True:
            heed_cancellation()
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.heartbeat()
            except Failure as failure:
                _log.warning("cancel.waits", code=failure.code)  # for the next heartbeat

    def interrupt_all(self, why: Why) -> None:
        """Every run is to stop."""
        for run in self:
            run.interrupt(why)

    async def _beat(self, beats: list[Beat]) -> dict[Fence, bool]:
        """A heartbeat that hangs is given up while there is time for another one."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._queue.heartbeat(beats, self._seconds)
        except TimeoutError as error:
            raise Failure("unavailable") from error

    async def heartbeat(self) -> None:
        """Renews every lease, once."""
        runs = list(self)
        if not runs:
            return
        held = await self._beat([run.beat for run in runs])
        for run in runs:
            fence = run.lease.fence
            if fence not in held:
                # It may have ended while the heartbeat was on its way.
                if fence in self._runs:
                    metrics.leases_lost_total.labels(verb="heartbeat").inc()
                    _log.warning("lease.lost", job=str(fence.id), lease_epoch=fence.lease_epoch)
                    run.interrupt("lease_lost")
            elif held[fence]:
                run.interrupt("cancel")
