"""Frames: what the server and a live client say to each other, one JSON object each.

`protocol/frames.schema.json` is generated from the two unions at the end.
"""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from safelight.wire.resources import File, Job, JobError, State

MAX_FRAME_BYTES = 4096


def now() -> datetime:
    """The time a frame is stamped with."""
    return datetime.now(UTC)


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    ts: datetime = msgspec.field(default_factory=now)


class Connected(_Frame, frozen=True, tag="connected"):
    """Always first."""

    session: str
    ping_interval_ms: int
    server_time: datetime


class Snapshot(_Frame, frozen=True, tag="snapshot"):
    """The whole job; what follows continues from its cursor."""

    job: str
    cursor: str
    traceparent: str
    data: Job


class StateFrame(_Frame, frozen=True, tag="state"):
    """A durable event. At the end it carries the error or the outputs (not all, when they are many)."""

    job: str
    cursor: str
    traceparent: str
    state: State
    reason: str
    attempt: int
    progress: float
    error: JobError | None = None
    outputs: list[File] = []


class ProgressFrame(_Frame, frozen=True, tag="progress"):
    """The latest progress; older ones are dropped on the way. 0 to 100."""

    job: str
    cursor: str
    traceparent: str
    attempt: int
    progress: float
    stage: str
    status: str


class Ping(_Frame, frozen=True, tag="ping"):
    """The server is there, and this is the newest it knows; from a client it needs no fields."""

    cursors: dict[str, str] = {}


class Pong(_Frame, frozen=True, tag="pong"):
    """Answers the client's ping."""


class Gap(_Frame, frozen=True, tag="gap"):
    """What came after the client's cursor is not known any more; a snapshot follows."""

    job: str
    cursor: str


class GoAway(_Frame, frozen=True, tag="goaway"):
    """The socket is about to close; come back after so many milliseconds."""

    reconnect_after_ms: int


class ErrorFrame(_Frame, frozen=True, tag="error"):
    """Something that the client sent, or asked for, went wrong."""

    code: str
    message: str
    retryable: bool


class ClientPing(msgspec.Struct, frozen=True):
    """The client wants to know that the whole way works."""

    type: Literal["ping"]


ServerFrame = Connected | Snapshot | StateFrame | ProgressFrame | Ping | Pong | Gap | GoAway | ErrorFrame
ClientFrame = ClientPing

encode = msgspec.json.Encoder().encode
decode_server = msgspec.json.Decoder(ServerFrame).decode
decode_client = msgspec.json.Decoder(ClientFrame).decode
