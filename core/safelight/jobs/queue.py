"""The queue: one method a verb, one SQL file a method. The only place that reads jobs/sql.

Called by the API's routes and by the processor's loops. Every write of a run carries its fence
(tenant, id, lease epoch): an answer that lacks it means that the lease was lost, and the caller
stops that run and drops its result. All times are the database's own.

Enqueues that wait share a statement (combiner.py); ends are recorded and jobs claimed in one
(`exchange`). What an object remembers (lanes.py) makes it faster and nothing else, so any number of
them may live anywhere.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.errors import CATALOGUE, Failure
from safelight.jobs import records
from safelight.jobs.combiner import Combiner
from safelight.jobs.job import (
    Accepted,
    Beat,
    Change,
    Depth,
    Ended,
    Event,
    Exchanged,
    Fence,
    Forgotten,
    HandedBack,
    Job,
    Lease,
    NewJob,
)
from safelight.jobs.lanes import Lane, Lanes
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight.wire.resources import JobError, PipelineInfo, State

_SQL = load("safelight.jobs")
_declaration = msgspec.json.Decoder(PipelineInfo).decode
_EXHAUSTED = JobError("attempts_exhausted", CATALOGUE["attempts_exhausted"].message, retryable=False)
_TRIES = 20  # of what another hand may overtake


Thing = TypeVar("Thing")
Flow: TypeAlias = tuple[int, Lane]  # what one tenant has in a lane
_NOBODY = UUID(int=0)


def _unique(job: NewJob) -> Sequence[tuple[int, object]]:
    """What two jobs of one statement may not share."""
    given = (job.id, job.idempotency_key, job.content)
    return [(job.tenant, one) for one in given if one is not None]


def _flows(jobs: Iterable[NewJob]) -> tuple[list[Flow], list[int], list[int]]:
    """Their flows; and of each job the number of its flow, from 1 on, and its place in it, from 0 on."""
    sizes: dict[Flow, int] = {}
    numbers: dict[Flow, int] = {}
    of_jobs, places = [], []
    for job in jobs:
        flow = (job.tenant, Lane(job.pipeline, job.priority))
        of_jobs.append(numbers.setdefault(flow, len(numbers) + 1))
        places.append(sizes.setdefault(flow, 0))
        sizes[flow] += 1
    return list(numbers), of_jobs, places


def _column(values: Iterable[Thing | None]) -> Sequence[Thing | None]:
    """Of an array of them; without any values an empty one, which `unnest` fills with nulls as well."""
    column = list(values)
    return column if any(value is not None for value in column) else ()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class _OvertakenError(Exception):
    """Another hand was faster; the transaction is undone, and tried again."""


class JobQueue:
    """The verbs."""

    def __init__(self, pool: asyncpg.Pool, *, reuse_seconds: float | None = None) -> None:
        """`reuse_seconds`: how long a result answers jobs of the same content; None: while it is kept."""
        self._pool = pool
        self._reuse_seconds = reuse_seconds
        self._lanes = Lanes()
        self._heads: dict[Lane, int] = {}
        self._accept = Combiner(self.enqueue_many, _unique)

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)

    # What the API calls

    async def enqueue(self, job: NewJob) -> tuple[UUID, bool]:
        """Accepts a job, durably; answers its id and whether it is new.

        A repeat (same id or idempotency key, same fingerprint) answers the id of the first, and so does a job
        with the content of one that runs, waits or has succeeded.

        Raises:
            Failure: `id_taken` or `idempotency_key_reused` when the fingerprint differs, `job_expired` when
                the id is that of a job that is forgotten, `queue_full` when the tenant or the pipeline has as
                many jobs as it may, `unavailable`.
        """
        for _ in range(_TRIES):
            accepted = await self._accept.ask(job)
            if accepted.created and accepted.gated:
                await self.admit()
            if accepted.expired:
                raise Failure("job_expired")
            if accepted.created or accepted.id != job.id:
                return accepted.id, accepted.created
            repeats = await self._rows("find_repeat", job.tenant, job.id, job.idempotency_key)
            if repeats:
                first = repeats[0]
                if first["fingerprint"] != job.fingerprint:
                    raise Failure("id_taken" if first["same_id"] else "idempotency_key_reused")
                return first["id"], False
            if accepted.refused:
                raise Failure("queue_full")
            # The first was forgotten at this very moment, so this one is no repeat.
        raise Failure("unavailable")

    async def enqueue_many(self, jobs: Sequence[NewJob]) -> Sequence[Accepted]:
        """Accepts jobs in one commit, durably. No two of them may share an id, a key or a content."""
        flows, numbers, places = _flows(jobs)
        inputs = [_json(job.inputs) if job.inputs else "[]" for job in jobs]
        named = [job.named for job in jobs]
        arguments = (
            [job.id for job in jobs],
            [job.params for job in jobs],
            inputs,
            [job.fingerprint for job in jobs],
            _column(job.idempotency_key for job in jobs),
            _column(job.content for job in jobs),
            _column(job.batch for job in jobs),
            [job.weight for job in jobs],
            [job.max_attempts for job in jobs],
            [job.traceparent for job in jobs],
            numbers,
            places,
            [tenant for tenant, _ in flows],
            [lane.pipeline for _, lane in flows],
            [lane.priority for _, lane in flows],
            [self._heads.get(lane, 0) for _, lane in flows],
            self._reuse_seconds,
        )
        rows: Sequence[asyncpg.Record] = ()
        if not any(named):
            with suppress(asyncpg.UniqueViolationError):
                rows = await (self._one(jobs[0]) if len(jobs) == 1 else self._rows("enqueue_new", *arguments))
        if rows and rows[0]["id"] is None:  # a row for each flow: all of them are new
            self._passed(flows, rows)
            gates = [row["gated"] for row in rows]
            return [
                Accepted(job.id, True, False, gates[number - 1])
                for job, number in zip(jobs, numbers, strict=True)
            ]
        rows = rows or await self._rows("enqueue", *arguments, named)
        self._passed([flows[number - 1] for number in numbers], rows)
        return [
            Accepted(row["id"], row["created"], row["refused"], row["gated"], row["expired"]) for row in rows
        ]

    async def _one(self, job: NewJob) -> list[asyncpg.Record]:
        """`enqueue_new` of a single job."""
        return await self._rows(
            "enqueue_one",
            job.id,
            job.params,
            _json(job.inputs),
            job.fingerprint,
            job.idempotency_key,
            job.content,
            job.batch,
            job.weight,
            job.max_attempts,
            job.traceparent,
            job.tenant,
            job.pipeline,
            job.priority,
            self._heads.get(Lane(job.pipeline, job.priority), 0),
            self._reuse_seconds,
        )

    def _passed(self, flows: Iterable[Flow], rows: Iterable[asyncpg.Record]) -> None:
        """How far the lanes are; the next look for their heads begins there."""
        for (_, lane), row in zip(flows, rows, strict=True):
            self._heads[lane] = max(row["head"], self._heads.get(lane, 0))

    async def get(self, key: JobKey) -> Job | None:
        """The job, or None when there is no such job for this tenant."""
        rows = await self._rows("get", *key)
        return records.job(rows[0]) if rows else None

    async def forgotten(self, key: JobKey) -> Forgotten | None:
        """What is remembered of a job that was pruned, or None."""
        rows = await self._rows("forgotten", *key)
        return Forgotten(rows[0]["reason"], rows[0]["forgotten_at"]) if rows else None

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
        return [records.job(row) for row in rows]

    async def failed(
        self,
        tenant: int,
        *,
        pipeline: str | None = None,
        code: str | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 50,
    ) -> Sequence[Job]:
        """A tenant's jobs that have failed, the newest end first; `before` is where the last page ended."""
        finished_at, last = before or (None, None)
        rows = await self._rows("failed", tenant, pipeline, code, finished_at, last, limit)
        return [records.job(row) for row in rows]

    async def list_batch(self, tenant: int, batch: UUID, limit: int) -> Sequence[Job]:
        """The jobs of a batch, in the order in which they came."""
        return [records.job(row) for row in await self._rows("list_batch", tenant, batch, limit)]

    async def timeline(self, job: Job) -> Sequence[Event]:
        """Every durable event of this incarnation, in order, without gaps."""
        rows = await self._rows("timeline", *job.key, job.cursor.epoch)
        return records.timeline(job, rows)

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
                    gated=row["gated"],
                    batch=row["batch_id"],
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
            if row["batch_id"] is not None:
                await connection.fetch(_SQL["reopen_batch"], key.tenant, row["batch_id"])
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
        """Takes as many jobs as there are free slots: by priority, fairly between tenants, then by age."""
        return (await self.exchange([], pipelines, slots, worker, lease_seconds)).leases

    async def complete(self, ended: Sequence[Ended]) -> dict[Fence, Change]:
        """Records how runs ended (succeeded, failed, canceled); answers those whose lease still held.

        A job whose cancel was accepted comes back as canceled, whatever its run said.
        """
        return (await self.exchange(ended, [], 0, _NOBODY, 0.0)).changes

    async def exchange(
        self,
        ended: Sequence[Ended],
        pipelines: Sequence[str],
        slots: int,
        worker: UUID,
        lease_seconds: float,
    ) -> Exchanged:
        """`complete` what ended and `claim` for the slots that are free then, in one commit.

        Raises:
            Failure: `unavailable`; then it is not known what was recorded, and what was claimed is nobody's
                until `release_strays` hands it back, or its lease expires.
        """
        began = time.monotonic()
        front = self._lanes.from_front(began)
        lanes = self._lanes.order(pipelines) if slots > 0 else []
        told = (
            *_fences(end.fence for end in ended),
            [end.state for end in ended],
            [end.reason for end in ended],
            [end.progress for end in ended],
            _column(end.stage for end in ended),
            [end.result for end in ended],
            [_json(end.outputs) if end.outputs else "[]" for end in ended],
            _column(_json(end.error) if end.error else None for end in ended),
        )
        wanted = (
            [lane.pipeline for lane in lanes],
            [lane.priority for lane in lanes],
            [0 if front else self._lanes.low(lane) for lane in lanes],
            slots,
            worker,
            lease_seconds,
        )
        if not ended:
            rows = await self._rows("claim", *wanted)
        elif not lanes:
            rows = await self._rows("complete", *told)
        else:
            rows = await self._rows("exchange", *told, *wanted)
        progress = {end.fence: end.progress for end in ended}
        changes = {}
        for row in rows:
            if not row["claimed"]:
                fence = records.fence(row)
                changes[fence] = records.recorded(row, progress[fence])
        taken = [row for row in rows if row["claimed"]]
        leases = [records.lease(row) for row in taken]
        if lanes:
            now, short = time.monotonic(), len(taken) < slots
            ranks = ((Lane(row["pipeline"], row["priority"]), row["rank"]) for row in taken)
            self._lanes.claimed(ranks, front=front)
            self._lanes.looked(now, now - began, front=front, short=short)
            if self._lanes.again(now, front=front, short=short):
                rest = await self.exchange([], pipelines, slots - len(taken), worker, lease_seconds)
                leases += rest.leases
        return Exchanged(changes=changes, leases=leases)

    async def admit(self, most: int = 200) -> int:
        """Lets in gated jobs for which there is room now; answers how many. Anybody may, at any time."""
        return int((await self._rows("admit", most))[0][0])

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

    async def retry(
        self,
        fence: Fence,
        delay_seconds: float,
        error: JobError,
        *,
        crash: str | None = None,
        progress: float = 0.0,
    ) -> Change | None:
        """Queues the job again for later, or ends it: its cancel was accepted, or no attempt is left.

        `crash` is what its child died of, if it did. None when the lease was lost.
        """
        rows = await self._rows("retry", *fence, delay_seconds, _json(error), crash, progress)
        return records.change(rows[0], lease_epoch=fence.lease_epoch) if rows else None

    async def release(self, runs: Sequence[HandedBack]) -> Sequence[Change]:
        """Hands runs back, each with its attempt, at once or for later; ends those whose cancel was accepted.

        A run that is missing in the answer had lost its lease.
        """
        rows = await self._rows(
            "release",
            *_fences(run.fence for run in runs),
            [run.progress for run in runs],
            [run.delay_seconds for run in runs],
        )
        return [records.change(row) for row in rows]

    async def release_strays(self, worker: UUID, known: Iterable[Fence]) -> Sequence[Change]:
        """Hands back what a claim gave to a worker and its answer never told: leases beside the `known` ones.

        No claim of this worker may be under way, or what it brings would be handed back under its hands.
        """
        rows = await self._rows("strays", worker, *_fences(known))
        strays = [HandedBack(fence=records.fence(row), progress=row["progress"]) for row in rows]
        return await self.release(strays) if strays else []

    async def rescue(self, limit: int = 100) -> Sequence[Change]:
        """Takes back runs whose lease has expired."""
        return [records.change(row) for row in await self._rows("rescue", limit, _json(_EXHAUSTED))]

    async def depth(self) -> Sequence[Depth]:
        """What waits and what runs."""
        return [Depth(*row.values()) for row in await self._rows("depth")]


def _fences(fences: Iterable[Fence]) -> tuple[Sequence[int], Sequence[UUID], Sequence[int]]:
    """Three arrays, as unnest wants them."""
    all_of_them = list(fences)
    return (
        [fence.tenant for fence in all_of_them],
        [fence.id for fence in all_of_them],
        [fence.lease_epoch for fence in all_of_them],
    )
