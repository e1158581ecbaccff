"""One watcher of one job, whatever carries the frames to it: what is new, in order, and what was lost.

`routes/live` (WebSocket) and `routes/events` (SSE) ask for the next frames and send them; the hub fills the
mailbox, the session decides what of it may be told.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from safelight.errors import Failure
from safelight.telemetry import metrics
from safelight.wire.cursor import Cursor
from safelight.wire.frames import ErrorFrame, Ping, ServerFrame, encode
from safelight.wire.key import JobKey
from safelight_api.live.mailbox import Mailbox
from safelight_api.live.session import Session, Verdict
from safelight_api.services import Services


class Told(NamedTuple):
    """A frame as it goes out: its type, the cursor that its reader has then, its JSON."""

    kind: str
    cursor: str
    data: bytes


class Follower:
    """A job as one watcher sees it."""

    def __init__(self, services: Services, key: JobKey, session: Session, mailbox: Mailbox) -> None:
        self._services = services
        self._key = key
        self._session = session
        self._mailbox = mailbox

    @property
    def ended(self) -> bool:
        """Whether the watcher knows the end."""
        return self._session.ended

    @property
    def ping(self) -> Told:
        """That the server is there, and the newest cursor it knows: so a silent loss shows."""
        top = self._mailbox.top
        ping = Ping(cursors={str(self._key.id): str(max(top, self._session.told or top))})
        return Told("ping", "", encode(ping))

    async def wait(self) -> None:
        """Until there is something to tell, or to read."""
        await self._mailbox.wait()

    async def begin(self) -> list[Told]:
        """The first frames: the whole job, or what came after the watcher's cursor."""
        told = await self._catch_up()
        metrics.live_resumes_total.labels(outcome=self._session.outcome).inc()
        return told

    async def next(self) -> list[Told]:
        """What is new; may be nothing."""
        lost, messages = self._mailbox.take()
        told = []
        for message in messages:
            verdict = self._session.news(message)
            if verdict is Verdict.ASK:
                lost = True
                break
            if verdict is Verdict.SEND:
                kind = "progress" if message.kind == "progress" else "state"
                told.append(Told(kind, str(message.cursor), message.frame))
        if lost and not self.ended:
            told += await self._catch_up()
        return told

    async def _catch_up(self) -> list[Told]:
        services = self._services
        while True:
            job = await services.job(self._key)
            events = await services.queue.timeline(job)
            # The job may have moved between the two reads; then the timeline does not reach it.
            if events[-1].cursor == job.cursor.durable:
                break
        frames = await self._session.catch_up(job, events)
        self._mailbox.told(job.cursor)
        return [told(frame) for frame in frames]


def told(frame: ServerFrame) -> Told:
    """A frame that is made here."""
    return Told(str(frame.__struct_config__.tag), getattr(frame, "cursor", ""), encode(frame))


def error_frame(failure: Failure) -> ErrorFrame:
    """What went wrong, as a frame."""
    return ErrorFrame(code=failure.code, message=failure.message, retryable=failure.retryable)


@asynccontextmanager
async def follow(services: Services, key: JobKey, after: Cursor | None) -> AsyncIterator[Follower]:
    """Watches a job for as long as the block lasts, from a cursor on or from the whole of it."""
    with services.hub.watch(key) as mailbox:
        yield Follower(services, key, Session(services.presenter, after), mailbox)
