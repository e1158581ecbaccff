"""One watcher of one job, sans-I/O: news goes in, what to send comes out.

The route that owns the socket asks `news` for every message and does what it says; it reads the
job from Postgres when told to, and passes it to `catch_up`.
"""

from collections.abc import Sequence
from enum import Enum, auto

from safelight.jobs.job import Event, Job
from safelight.progress.tail import Message
from safelight.wire.cursor import Cursor
from safelight.wire.frames import Gap, ServerFrame, Snapshot
from safelight.wire.resources import FINAL_STATES
from safelight_api.live.resume import resume
from safelight_api.present import Presenter


class Verdict(Enum):
    """What to do with a piece of news."""

    SEND = auto()
    IGNORE = auto()  # older than what was told
    ASK = auto()  # something before it is missing


class Session:
    """What this watcher was told. `outcome` says how it began, for the metric."""

    def __init__(self, presenter: Presenter, told: Cursor | None) -> None:
        self._presenter = presenter
        self.told = told
        self.ended = False
        self.outcome = ""

    def news(self, message: Message) -> Verdict:
        """Whether this is what comes next. A sent message counts as told."""
        told = self.told
        if told is None:
            return Verdict.ASK
        if message.cursor <= told:
            return Verdict.IGNORE
        next_event = message.kind != "progress" and message.cursor == Cursor(told.epoch, told.seq + 1)
        same_run = message.kind == "progress" and message.cursor.durable == told.durable
        if not (next_event or same_run):
            return Verdict.ASK
        # The end is told as Postgres has it: with the outputs, and links that this watcher may follow.
        if message.kind == "end":
            return Verdict.ASK
        self.told = message.cursor
        return Verdict.SEND

    async def catch_up(self, job: Job, events: Sequence[Event]) -> list[ServerFrame]:
        """The frames that bring this watcher from where it is to the job as it is."""
        way = resume(self.told, job, events)
        self.outcome = self.outcome or way.how
        # What Postgres knows of the progress may be older than what was told.
        self.told = max(job.cursor, self.told or job.cursor) if way.how == "replay" else job.cursor
        self.ended = job.state in FINAL_STATES
        if way.how == "replay":
            frames: list[ServerFrame] = [await self._presenter.event(job, event) for event in way.events]
            return [*frames, self._presenter.progress(job)] if way.progress else frames
        snapshot = Snapshot(
            job=str(job.key.id),
            cursor=str(job.cursor),
            traceparent=job.traceparent,
            data=await self._presenter.job(job),
        )
        gap = Gap(job=snapshot.job, cursor=snapshot.cursor)
        return [gap, snapshot] if way.how == "gap" else [snapshot]
