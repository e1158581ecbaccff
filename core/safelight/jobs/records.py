"""What Postgres answers -> the values of the queue. Pure; only `queue` calls it."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import msgspec

from safelight.jobs.job import Change, Event, Fence, Job, Lease, StoredFile
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight.wire.resources import JobError

_files = msgspec.json.Decoder(list[StoredFile]).decode
_error = msgspec.json.Decoder(JobError).decode


def fence(row: asyncpg.Record) -> Fence:
    """Which lease it is about."""
    return Fence(row["tenant_id"], row["job_id"], row["lease_epoch"])


def lease(row: asyncpg.Record) -> Lease:
    """A claim, as `exchange` answers it."""
    return Lease(
        tenant=row["tenant_id"],
        id=row["job_id"],
        epoch=row["epoch"],
        seq=row["seq"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        crashes=row["crashes"],
        lease_epoch=row["lease_epoch"],
        pipeline=row["pipeline"],
        priority=row["priority"],
        params=row["params"],
        inputs=_files(row["inputs"]),
        traceparent=row["traceparent"],
        waited=row["seconds"],
    )


def change(row: asyncpg.Record, **more: Any) -> Change:
    """A durable event; `more` is what the row does not say."""
    given = dict(row) | more
    return Change(
        key=JobKey(given["tenant_id"], given["job_id"]),
        cursor=Cursor(given["epoch"], given["seq"]),
        state=given["state"],
        reason=given["reason"],
        attempt=given.get("attempt", 0),
        progress=given.get("progress", 0.0),
        lease_epoch=given.get("lease_epoch", 0),
        ran=given.get("ran", 0.0),
        worker=given.get("worker_id"),
        traceparent=given.get("traceparent", ""),
        gated=given.get("gated", False),
        batch=given.get("batch_id"),
    )


def recorded(row: asyncpg.Record, progress: float) -> Change:
    """An end, as `exchange` answers it."""
    return Change(
        key=JobKey(row["tenant_id"], row["job_id"]),
        cursor=Cursor(row["epoch"], row["seq"]),
        state=row["state"],
        reason=row["reason"],
        attempt=row["attempt"],
        progress=progress,
        lease_epoch=row["lease_epoch"],
        ran=row["seconds"],
        gated=row["gated"],
        batch=row["batch_id"],
    )


def job(row: asyncpg.Record) -> Job:
    """A row of the view job_now."""
    running = row["state"] == "running"
    return Job(
        key=JobKey(row["tenant_id"], row["id"]),
        pipeline=row["pipeline"],
        priority=row["priority"],
        batch=row["batch_id"],
        state=row["state"],
        reason=row["reason"],
        cursor=Cursor(row["epoch"], row["seq"], row["progress_n"] if running else 0),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        lease_epoch=row["lease_epoch"],
        progress=100.0 if row["state"] == "succeeded" else row["progress"],
        stage=row["stage"],
        status=row["status"],
        inputs=_files(row["inputs"]),
        outputs=_files(row["outputs"]),
        result=msgspec.json.decode(row["result"]) if row["result"] else None,
        error=_error(row["error"]) if row["error"] else None,
        created_at=row["created_at"],
        opened_at=row["opened_at"],
        started_at=row["started_at"],
        claimed_at=row["claimed_at"],
        finished_at=row["finished_at"],
        cancel_requested_at=row["cancel_requested_at"],
        traceparent=row["traceparent"],
    )


def timeline(job: Job, rows: Iterable[asyncpg.Record]) -> Sequence[Event]:
    """Puts a job's events together: its beginning, two for each run that did not end it, and what is now."""
    epoch, seq, _ = job.cursor
    first = "submitted" if epoch == 1 else "reopened"
    events = [
        Event(
            cursor=Cursor(epoch, 1), state="queued", reason=first, attempt=0, progress=0.0, at=job.opened_at
        )
    ]
    for row in rows:
        claimed = Cursor(epoch, row["claimed_seq"])
        given_back = row["reason"] == "released"
        events.append(
            Event(
                cursor=claimed,
                state="running",
                reason="claimed",
                attempt=row["attempt"],
                progress=0.0,
                at=row["claimed_at"],
            )
        )
        events.append(
            Event(
                cursor=Cursor(epoch, claimed.seq + 1),
                state="queued",
                reason=row["reason"],
                attempt=row["attempt"] - given_back,
                progress=row["progress"],
                at=row["ended_at"],
                error=_error(row["error"]) if row["error"] else None,
            )
        )
    finished = job.finished_at is not None
    claimed_seq = seq - 1 if finished else seq
    if job.claimed_at is not None and claimed_seq > events[-1].cursor.seq:
        events.append(
            Event(
                cursor=Cursor(epoch, claimed_seq),
                state="running",
                reason="claimed",
                attempt=job.attempt,
                progress=0.0,
                at=job.claimed_at,
            )
        )
    if job.finished_at is not None:
        events.append(
            Event(
                cursor=Cursor(epoch, seq),
                state=job.state,
                reason=job.reason,
                attempt=job.attempt,
                progress=job.progress,
                at=job.finished_at,
                error=job.error,
            )
        )
    return events
