"""Values of the queue: what is asked for, what is claimed, how a run ends, what a job is."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from safelight.wire.cursor import Cursor
from safelight.wire.frames import StateFrame
from safelight.wire.key import JobKey
from safelight.wire.resources import JobError, State


class Fence(NamedTuple):
    """What every write of a run carries: zero rows back means that the lease was lost."""

    tenant: int
    id: UUID
    lease_epoch: int


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """An input or an output; `key` names its bytes in the store, sizes are bytes and pixels."""

    name: str
    key: str
    media_type: str
    bytes: int
    width: int
    height: int
    sha256: str


def megapixels(files: Iterable[StoredFile]) -> float:
    """Of these images together."""
    return sum(file.width * file.height for file in files) / 1e6


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to enqueue; its input bytes are stored already. `params` is JSON text."""

    tenant: int
    id: UUID
    pipeline: str
    params: str
    inputs: list[StoredFile]
    fingerprint: bytes
    idempotency_key: str | None
    max_attempts: int
    traceparent: str
    priority: int = 1
    content: bytes | None = None  # a job of the same content may answer instead; None: none may
    batch: UUID | None = None
    weight: float = 1.0  # its share in the progress of its batch
    named: bool = False  # its client chose the id, and may have chosen it before


class Accepted(NamedTuple):
    """What became of a job that was to be enqueued: new, refused as its queue is full, or else a repeat.

    `id` is another job's where that has the same content.
    """

    id: UUID
    created: bool
    refused: bool
    gated: bool  # held until `admit` lets it in
    expired: bool = False  # its id is that of a job that is forgotten


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed job: the right to run it, until the lease expires. `waited` is seconds since it was due."""

    tenant: int
    id: UUID
    epoch: int
    seq: int
    attempt: int
    max_attempts: int
    crashes: list[str]  # what children died of that had it before
    lease_epoch: int
    pipeline: str
    priority: int
    params: str
    inputs: list[StoredFile]
    traceparent: str
    waited: float

    @property
    def key(self) -> JobKey:
        """The job it is for."""
        return JobKey(self.tenant, self.id)

    @property
    def fence(self) -> Fence:
        """What its writes carry."""
        return Fence(self.tenant, self.id, self.lease_epoch)

    @property
    def megapixels(self) -> float:
        """Of all its images."""
        return megapixels(self.inputs)

    @property
    def handed_back(self) -> int:
        """How often this incarnation was handed back: a run is two events, and not every run counts."""
        return self.seq // 2 - self.attempt

    @property
    def cursor(self) -> Cursor:
        """Where the run began."""
        return Cursor(self.epoch, self.seq)


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One lease in a heartbeat, with the progress it carries to Postgres (0 to 100)."""

    fence: Fence
    progress: float
    progress_n: int
    stage: str | None
    status: str | None


class HandedBack(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is given up without counting it; the job waits for `delay_seconds` before it runs again."""

    fence: Fence
    progress: float
    delay_seconds: float = 0.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended its job. `result` is JSON text."""

    fence: Fence
    state: State
    reason: str
    progress: float
    stage: str | None
    result: str | None = None
    outputs: list[StoredFile] = []
    error: JobError | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A durable event that has just been recorded: what a watcher is told. `ran` is seconds."""

    key: JobKey
    cursor: Cursor
    state: State
    reason: str
    attempt: int
    progress: float
    lease_epoch: int = 0
    ran: float = 0.0
    cancel_requested: bool = False
    gated: bool = False  # it makes room for another
    batch: UUID | None = None
    worker: UUID | None = None
    traceparent: str = ""

    def frame(self, traceparent: str, error: JobError | None = None) -> StateFrame:
        """What a live watcher is told; outputs are added by who knows their links."""
        return StateFrame(
            job=str(self.key.id),
            cursor=str(self.cursor),
            traceparent=traceparent,
            state=self.state,
            reason=self.reason,
            attempt=self.attempt,
            progress=round(self.progress, 1),
            error=error,
        )


class Exchanged(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange brought: the ends that were recorded, by fence, and the jobs that were claimed."""

    changes: dict[Fence, Change]
    leases: list[Lease]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A durable event of the past."""

    cursor: Cursor
    state: State
    reason: str
    attempt: int
    progress: float
    at: datetime
    error: JobError | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the truth has it."""

    key: JobKey
    pipeline: str
    priority: int
    batch: UUID | None
    state: State
    reason: str
    cursor: Cursor
    attempt: int
    max_attempts: int
    lease_epoch: int
    progress: float
    stage: str | None
    status: str | None
    inputs: list[StoredFile]
    outputs: list[StoredFile]
    result: Any
    error: JobError | None
    created_at: datetime
    opened_at: datetime
    started_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    traceparent: str


class Forgotten(msgspec.Struct, frozen=True):
    """A job that was pruned: why, and when."""

    reason: Literal["retention"]
    at: datetime


class Depth(msgspec.Struct, frozen=True):
    """How many jobs of a pipeline are in a state, and the age in seconds of the oldest that is due."""

    pipeline: str
    state: State
    jobs: int
    oldest: float
