"""What HTTP answers: the job, its files, the pipelines, problems.

The API builds these from the queue's own values; `protocol/openapi.json` shows them.
"""

from datetime import datetime
from typing import Any, Literal

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


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of work, as its owner sees it."""

    id: str
    pipeline: str
    priority: int
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


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first, and where the next page begins."""

    jobs: list[Job]
    next: str | None


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
