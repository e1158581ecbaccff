"""The queue: one method a verb, one SQL file a method. The only place that reads jobs/sql.

Called by the API's routes and by the processor's loops. Every write of a run carries its fence
(tenant, id, lease epoch): an answer that lacks it means that the lease was lost, and the caller
stops that run and drops its result. All times are the database's own.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.errors import CATALOGUE, Failure
from safelight.jobs.job import (
    Beat,
    Change,
    Depth,
    Ended,
    Event,
    Fence,
    HandedBack,
    Job,
    Lease,
    NewJob,
    StoredFile,
)
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight.wire.resources import JobError, PipelineInfo, State

_SQL = load("safelight.jobs")
_files = msgspec.json.Decoder(list[StoredFile]).decode
_error = msgspec.json.Decoder(JobError).decode
_declaration = msgspec.json.Decoder(PipelineInfo).decode
_EXHAUSTED = JobError("attempts_exhausted", CATALOGUE["attempts_exhausted"].message, retryable=False)
_TRIES = 20  # of what another hand may overtake


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class _OvertakenError(Exception):
    """Another hand was faster; the transaction is undone, and tried again."""


class JobQueue:
    """The verbs. Holds nothing but the pool, so any number of them may live anywhere."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)

    # What the API calls

    async def enqueue(self, job: NewJob) -> tuple[UUID, bool]:
        """Accepts a job, durably; answers its id and whether it is new.

        A repeat (same id or idempotency key, same fingerprint) answers the id of the first.

        Raises:
            Failure: `id_taken` or `idempotency_key_reused` when the fingerprint differs, `unavailable`.
        """
        rows = await self._rows(
            "enqueue",
            [job.tenant],
            [job.id],
            [job.pipeline],
            [job.params],
            [_json(job.inputs)],
            [job.fingerprint],
            [job.idempotency_key],
            [job.max_attempts],
            [job.traceparent],
        )
        if rows[0]["created"]:
            return job.id, True
        first = (await self._rows("find_repeat", job.tenant, job.id, job.idempotency_key))[0]
        if first["fingerprint"] != job.fingerprint:
            raise Failure("id_taken" if first["same_id"] else "idempotency_key_reused")
        return first["id"], False

    async def get(self, key: JobKey) -> Job | None:
        """The job, or None when there is no such job for this tenant."""
        rows = await self._rows("get", *key)
        return _job(rows[0]) if rows else None

    async def list(
        self,
        tenant: int,
        *,
        state: State | None = None,
        pipeline: str | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 50,
    ) -> Sequence[Job]:
        """A tenant's jobs, newest first; `before` is where the last page ended."""
        created_at, last = before or (None, None)
        rows = await self._rows("list", tenant, state, pipeline, created_at, last, limit)
        return [_job(row) for row in rows]

    async def timeline(self, job: Job) -> Sequence[Event]:
        """Every durable event of this incarnation, in order, without gaps."""
        rows = await self._rows("timeline", *job.key, job.cursor.epoch)
        return _timeline(job, rows)

    async def tops(self, keys: Iterable[JobKey]) -> dict[JobKey, Cursor]:
        """The newest cursor of each job that is known."""
        tenants, ids = zip(*keys, strict=True)
        rows = await self._rows("tops", list(tenants), list(ids))
        return {
            JobKey(row["tenant_id"], row["job_id"]): Cursor(row["epoch"], row["seq"], row["n"])
            for row in rows
        }

    async def cancel(self, key: JobKey) -> Change | None:
        """Ends a job that waits, asks the run of one that runs; None when the job is not live."""
        # A job that changes hands at this very moment is seen by neither branch of the statement.
        for _ in range(_TRIES):
            rows = await self._rows("cancel", *key)
            if rows:
                row = rows[0]
                return Change(
                    key=key,
                    cursor=Cursor(row["epoch"], row["seq"]),
                    state=row["state"],
                    reason="canceled" if row["state"] == "canceled" else "claimed",
                    attempt=row["attempt"],
                    progress=row["progress"],
                    worker=row["worker_id"],
                    cancel_requested=True,
                )
            job = await self.get(key)
            if job is None or job.finished_at is not None:
                return None
        raise Failure("unavailable")

    async def reopen(self, key: JobKey) -> Change | None:
        """A failed or canceled job begins its next incarnation; None when it is not in such a state."""
        for _ in range(_TRIES):
            with suppress(_OvertakenError):
                cursor = await self._reopen(key)
                return cursor and Change(
                    key=key, cursor=cursor, state="queued", reason="reopened", attempt=0, progress=0.0
                )
        raise Failure("unavailable")

    async def _reopen(self, key: JobKey) -> Cursor | None:
        async with outages(), self._pool.acquire() as connection, connection.transaction():
            await connection.fetch(_SQL["lock_job"], *key)
            row = await connection.fetchrow(_SQL["reopen"], *key)
            if row is None:
                return None
            if not await connection.fetchval(_SQL["is_newest"], *key, row["epoch"]):
                raise _OvertakenError
        return Cursor(row["epoch"], row["seq"])

    async def pipelines(self) -> Sequence[PipelineInfo]:
        """What the processors offer."""
        return [_declaration(row["declaration"]) for row in await self._rows("list_pipelines")]

    # What the processor calls

    async def register(self, offered: Iterable[PipelineInfo]) -> None:
        """Says what this processor offers."""
        for info in offered:
            await self._rows("register_pipeline", info.name, info.version, _json(info))

    async def claim(
        self, pipelines: Sequence[str], slots: int, worker: UUID, lease_seconds: float
    ) -> Sequence[Lease]:
        """Takes as many jobs as there are free slots, oldest first."""
        rows = await self._rows("claim", list(pipelines), slots, worker, lease_seconds)
        return [_lease(row) for row in rows]

    async def heartbeat(self, beats: Sequence[Beat], lease_seconds: float) -> dict[Fence, bool]:
        """Renews leases; answers those that still hold, each with whether its cancel was asked for."""
        rows = await self._rows(
            "heartbeat",
            *_fences(beat.fence for beat in beats),
            [beat.progress for beat in beats],
            [beat.progress_n for beat in beats],
            [beat.stage for beat in beats],
            [beat.status for beat in beats],
            lease_seconds,
        )
        return {
            Fence(row["tenant_id"], row["job_id"], row["lease_epoch"]): row["cancel_requested"]
            for row in rows
        }

    async def complete(self, ended: Sequence[Ended]) -> dict[Fence, Change]:
        """Records how runs ended (succeeded, failed, canceled); answers those whose lease still held.

        A job whose cancel was accepted comes back as canceled, whatever its run said.
        """
        rows = await self._rows(
            "complete",
            *_fences(end.fence for end in ended),
            [end.state for end in ended],
            [end.reason for end in ended],
            [end.progress for end in ended],
            [end.stage for end in ended],
            [end.result for end in ended],
            [_json(end.outputs) for end in ended],
            [_json(end.error) if end.error else None for end in ended],
        )
        progress = {end.fence: end.progress for end in ended}
        changes = (_change(row, progress=progress[_fence(row)]) for row in rows)
        return {Fence(*change.key, change.lease_epoch): change for change in changes}

    async def retry(
        self,
        fence: Fence,
        delay_seconds: float,
        error: JobError,
        *,
        crashed: bool = False,
        progress: float = 0.0,
    ) -> Change | None:
        """Queues the job again for later; None when the lease was lost."""
        rows = await self._rows("retry", *fence, delay_seconds, _json(error), crashed, progress)
        if not rows:
            return None
        row = rows[0]
        key = JobKey(fence.tenant, fence.id)
        change = Change(
            key=key,
            cursor=Cursor(row["epoch"], row["seq"]),
            state="queued",
            reason="retry",
            attempt=row["attempt"],
            progress=row["progress"],
            lease_epoch=fence.lease_epoch,
        )
        return (await self.cancel(key) or change) if row["cancel_requested"] else change

    async def release(self, runs: Sequence[HandedBack]) -> Sequence[Change]:
        """Hands runs back, each with its attempt, at once or for later.

        A run that is missing in the answer had lost its lease.
        """
        rows = await self._rows(
            "release",
            *_fences(run.fence for run in runs),
            [run.progress for run in runs],
            [run.delay_seconds for run in runs],
        )
        changes = []
        for row in rows:
            change = _change(row, state="queued", reason="released")
            canceled = await self.cancel(change.key) if row["cancel_requested"] else None
            changes.append(canceled or change)
        return changes

    async def rescue(self, limit: int = 100) -> Sequence[Change]:
        """Takes back runs whose lease has expired."""
        return [_change(row) for row in await self._rows("rescue", limit, _json(_EXHAUSTED))]

    async def depth(self) -> Sequence[Depth]:
        """What waits and what runs."""
        return [Depth(*row.values()) for row in await self._rows("depth")]

    async def prune(self, retention_seconds: float, limit: int = 500) -> Sequence[JobKey]:
        """Forgets jobs that ended long ago; the caller removes their bytes."""
        async with outages(), self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetch(_SQL["lock_old"], retention_seconds, limit)
            tenants, ids = [row["tenant_id"] for row in found], [row["id"] for row in found]
            rows = await connection.fetch(_SQL["prune"], tenants, ids, retention_seconds)
        return [JobKey(row["tenant_id"], row["id"]) for row in rows]


def _fences(fences: Iterable[Fence]) -> tuple[Sequence[int], Sequence[UUID], Sequence[int]]:
    """Three arrays, as unnest wants them."""
    tenants, ids, epochs = zip(*fences, strict=True)
    return list(tenants), list(ids), list(epochs)


def _fence(row: asyncpg.Record) -> Fence:
    return Fence(row["tenant_id"], row["job_id"], row["lease_epoch"])


def _lease(row: asyncpg.Record) -> Lease:
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
        params=row["params"],
        inputs=_files(row["inputs"]),
        traceparent=row["traceparent"],
        waited=row["waited"],
    )


def _change(row: asyncpg.Record, **more: Any) -> Change:
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
    )


def _job(row: asyncpg.Record) -> Job:
    running = row["state"] == "running"
    return Job(
        key=JobKey(row["tenant_id"], row["id"]),
        pipeline=row["pipeline"],
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


def _timeline(job: Job, rows: Iterable[asyncpg.Record]) -> Sequence[Event]:
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
