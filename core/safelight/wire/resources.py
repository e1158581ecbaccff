"""What HTTP answers: the job, its files, the pipelines, problems.

The API builds these from the queue's own values; `protocol/openapi.json` shows them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

State = Literal["queued", "running", "succeeded", "failed", "canceled"]
FINAL_STATES: frozenset[State] = frozenset({"succeeded", "failed", "canceled"})


class File(msgspec.Struct, frozen=True, kw_only=True):
    """An input or an output: `bytes` is its size, `width` and `height` are pixels (0 when it is no image)."""

    name: str
    media_type: str
    bytes: int
    width: int
    height: int
    sha256: str
    href: str


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed, or why its last attempt did."""

    code: str
    message: str
    retryable: bool


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from a job, as paths on the same host."""

    self: str
    live: str
    events: str
    cancel: str
    retry: str


class Eta(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until the end: as likely earlier as later than `p50`, later than `p90` in one of ten.

    `wait_p50` and `wait_p90` are the part of it that passes before the job begins.
    """

    p50: float
    p90: float
    wait_p50: float
    wait_p90: float


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of work, as its owner sees it."""

    id: str
    pipeline: str
    priority: int
    batch: str | None
    state: State
    reason: str
    stage: str | None
    status: str | None
    progress: float
    attempt: int
    max_attempts: int
    cursor: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    inputs: list[File]
    outputs: list[File]
    result: Any
    error: JobError | None
    links: Links
    poll_after_ms: int
    traceparent: str
    token: str | None = None
    queue_position: int | None = None
    eta: Eta | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first, and where the next page begins."""

    jobs: list[Job]
    next: str | None


class BatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a batch are in each state."""

    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that were submitted together; `progress` is 0 to 100, weighted by megapixels.

    It has ended when it has `size` jobs and each of them has ended.
    """

    id: str
    size: int
    ended: bool
    progress: float
    counts: BatchCounts
    created_at: datetime
    ended_at: datetime | None
    round: int
    links: "BatchLinks"
    poll_after_ms: int


class BatchLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Where a batch can be read, and what can be done with it."""

    self: str
    jobs: str
    cancel: str
    retry: str


class BatchRequest(msgspec.Struct, frozen=True):
    """What a batch begins with: how many jobs it will have."""

    size: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Changed(msgspec.Struct, frozen=True):
    """How many jobs a request about many of them changed, and whether there may be more."""

    jobs: int
    more: bool


class StageInfo(msgspec.Struct, frozen=True):
    """A named part of a pipeline; weights are relative."""

    name: str
    weight: float


class PipelineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline that some processor offers; `params` is a JSON Schema, `deadline` is in seconds."""

    name: str
    version: str
    title: str
    description: str
    stages: list[StageInfo]
    params: dict[str, Any]
    deadline: float
    max_inputs: int
    max_pixels: int
    max_attempts: int


class PipelineList(msgspec.Struct, frozen=True):
    """Every pipeline, by name."""

    pipelines: list[PipelineInfo]


class ParamError(msgspec.Struct, frozen=True):
    """One place at which params do not fit: `path` as in `outputs/0/width`."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem details, with a stable code and whether a retry helps.

    `reason` says why a job is `410`: `retention`, its time was over.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = msgspec.field(default_factory=lambda: False)
    reason: str | None = None
    errors: list[ParamError] = []


class ProblemInfo(msgspec.Struct, frozen=True):
    """An entry of the failure catalogue."""

    code: str
    message: str
    retryable: bool
    status: int


class ProblemList(msgspec.Struct, frozen=True):
    """The failure catalogue."""

    problems: list[ProblemInfo]
