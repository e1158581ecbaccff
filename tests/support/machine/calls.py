"""Calls of the queue's verbs, each with what its answer says was done to which job; and the wire under them.

A `Hand` is one process: its own JobQueue, so its own memory of the lanes, over a `Wire` of its own. The
wire can lose an answer after the work was done, and can let somebody else in between two statements of one
verb. Nothing here passes a time of Python's, and the wire sees to it that nobody does: whatever a worker's
clock says, it cannot matter.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from safelight.db.statements import load
from safelight.errors import Failure
from safelight.jobs import records
from safelight.jobs.gates import Gates
from safelight.jobs.job import Beat, Change, Ended, HandedBack, Lease, NewJob
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Debris, Page, Retention, beginning
from safelight.wire.key import JobKey
from support.jobs import ERROR
from support.machine.model import (
    UNHEARD,
    Act,
    Beaten,
    Canceled,
    Claimed,
    Completed,
    Enqueued,
    Pruned,
    Released,
    Reopened,
    Rescued,
    Retried,
    Unheard,
)

OLD_ENDS, PRUNE, PAUSE_TENANT = (
    load("safelight.jobs")[name] for name in ("old_ends", "prune", "pause_tenant")
)
NAMES = {1: "default", 2: "two", 3: "three"}  # of the tenants
WEIGHTS = {1: 1, 2: 3, 3: 1}
TOLD_BY_THE_DATABASE = {OLD_ENDS, PRUNE}  # the times in it are
LEASE = 1000.0  # no lease expires and no delay is over by itself: the machine moves the times
RETENTION = 7 * 86400.0


Work = Callable[[], Awaitable[None]]


class Wire:
    """In place of a pool: what goes to Postgres, and what is heard of it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.fetchval = pool.fetchval
        self.deaf = False
        self.unheard: Sequence[asyncpg.Record] = ()  # what the lost answer said
        self.uncommitted: Work | None = None  # before the first commit of a verb
        self.meanwhile: Work | None = None  # before the second statement of a verb
        self._statements = 0

    def begin(self) -> None:
        """The next statement is the first of a verb."""
        self._statements = 0

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        told = statement in TOLD_BY_THE_DATABASE
        assert told or not _holds_a_time(arguments), f"a worker's clock in {statement[:40]}"
        self._statements += 1
        if self._statements == 2 and self.meanwhile is not None:
            work, self.meanwhile = self.meanwhile, None
            await work()
        if self.uncommitted is None:
            rows = await self._pool.fetch(statement, *arguments)
        else:
            async with self._pool.acquire() as connection, self._transaction(connection):
                rows = await connection.fetch(statement, *arguments)
        return rows if statement == OLD_ENDS else self._heard(rows)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["_Connection"]:
        async with self._pool.acquire() as connection:
            yield _Connection(connection, self._transaction)
        self._heard([])

    @asynccontextmanager
    async def _transaction(self, connection: asyncpg.Connection) -> AsyncIterator[None]:
        async with connection.transaction():
            yield
            if self.uncommitted is not None:
                work, self.uncommitted = self.uncommitted, None
                await work()

    def _heard(self, rows: list[asyncpg.Record]) -> list[asyncpg.Record]:
        if self.deaf:
            self.unheard = rows
            raise asyncpg.ConnectionDoesNotExistError("the answer was lost")
        return rows


class _Connection:
    """In place of a connection, where a verb has a transaction of its own."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        transaction: Callable[[asyncpg.Connection], AbstractAsyncContextManager[None]],
    ) -> None:
        self.fetch, self.fetchrow, self.fetchval = connection.fetch, connection.fetchrow, connection.fetchval
        self.transaction = lambda: transaction(connection)


def _holds_a_time(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_a_time, value))
    return isinstance(value, (date, time, timedelta))


class Hand:
    """A process: a pod of the API, or a processor."""

    def __init__(self, name: str, pool: asyncpg.Pool, worker: UUID) -> None:
        self.name = name
        self.worker = worker
        self.wire = Wire(pool)
        self.queue = JobQueue(self.wire)
        self.retention = Retention(self.wire)
        self.pool = pool
        self.gates = Gates(pool, self.queue)
        self.leases: list[Lease] = []  # that it believes to hold


class Call(NamedTuple):
    """A verb, ready to be called; `acts` tells what an answer says, also one that was lost."""

    says: str
    hand: Hand
    run: Callable[[], Awaitable[Any]]
    acts: Callable[[Any], list[Act]]


def enqueue(hand: Hand, new: NewJob) -> Call:
    async def run() -> tuple[UUID, bool] | str:
        try:
            return await hand.queue.enqueue(new)
        except Failure as failure:
            if failure.code == "unavailable":
                raise
            return failure.code

    def acts(answer: Any) -> list[Act]:
        if isinstance(answer, (str, Unheard)):
            return []  # the machine knows which job it means
        found, created = answer
        return [Enqueued(JobKey(new.tenant, found), new, created)]

    return Call(f"enqueue {said(new)}", hand, run, acts)


def enqueue_many(hand: Hand, news: Sequence[NewJob]) -> Call:
    def acts(answer: Any) -> list[Act]:
        if isinstance(answer, Unheard):
            return []
        return [
            Enqueued(JobKey(new.tenant, new.id), new, True)
            for new, accepted in zip(news, answer, strict=True)
            if accepted.created
        ]

    says = f"enqueue_many {', '.join(map(said, news))}"
    return Call(says, hand, lambda: hand.queue.enqueue_many(news), acts)


def exchange(hand: Hand, ended: Sequence[Ended], pipelines: Sequence[str], slots: int) -> Call:
    """Also `claim` and `complete`, which are halves of it."""

    async def run() -> tuple[dict[Any, Any], Sequence[Lease]]:
        if not ended:
            return {}, await hand.queue.claim(pipelines, slots, hand.worker, LEASE)
        if not slots:
            return await hand.queue.complete(ended), []
        both = await hand.queue.exchange(ended, pipelines, slots, hand.worker, LEASE)
        return both.changes, both.leases

    def acts(answer: Any) -> list[Act]:
        if isinstance(answer, Unheard):
            changes: dict[Any, Any] = {end.fence: UNHEARD for end in ended}
            leases = [records.lease(row) for row in hand.wire.unheard if row["claimed"]]
        else:
            changes, leases = answer
            assert set(changes) <= {end.fence for end in ended}, "an end that nobody reported"
        return [
            *(Completed(end, changes.get(end.fence)) for end in ended),
            *(Claimed(lease) for lease in leases),
        ]

    ends = ", ".join(f"{end.state} {end.fence}" for end in ended)
    says = f"complete [{ends}], claim {slots} of {pipelines}"
    return Call(says, hand, run, acts)


def heartbeat(hand: Hand, beats: Sequence[Beat]) -> Call:
    def acts(answer: Any) -> list[Act]:
        held = {beat.fence: UNHEARD for beat in beats} if isinstance(answer, Unheard) else answer
        return [Beaten(beat, held.get(beat.fence)) for beat in beats]

    says = f"heartbeat {[tuple(beat.fence) for beat in beats]}"
    return Call(says, hand, lambda: hand.queue.heartbeat(beats, LEASE), acts)


def retry(hand: Hand, lease: Lease, delay: float, *, crash: str | None) -> Call:
    return Call(
        f"retry {lease.fence} in {delay}",
        hand,
        lambda: hand.queue.retry(lease.fence, delay, ERROR, crash=crash),
        lambda answer: [Retried(lease.fence, delay, crash, answer)],
    )


def release(hand: Hand, runs: Sequence[HandedBack]) -> Call:
    def acts(answer: Any) -> list[Act]:
        if isinstance(answer, Unheard):
            return [Released(run, UNHEARD) for run in runs]
        changes = {change.key: change for change in answer}
        return [Released(run, changes.get(JobKey(*run.fence[:2]))) for run in runs]

    says = f"release {[(tuple(run.fence), run.delay_seconds) for run in runs]}"
    return Call(says, hand, lambda: hand.queue.release(runs), acts)


def rescue(hand: Hand, limit: int = 100) -> Call:
    def acts(answer: Any) -> list[Act]:
        changes = map(records.change, hand.wire.unheard) if isinstance(answer, Unheard) else answer
        return [Rescued(change) for change in changes]

    return Call(f"rescue {limit}", hand, lambda: hand.queue.rescue(limit), acts)


def cancel(hand: Hand, key: JobKey) -> Call:
    return Call(f"cancel {key}", hand, lambda: hand.queue.cancel(key), lambda answer: [Canceled(key, answer)])


def reopen(hand: Hand, key: JobKey) -> Call:
    return Call(f"reopen {key}", hand, lambda: hand.queue.reopen(key), lambda answer: [Reopened(key, answer)])


def prune(hand: Hand, *, by_row: bool) -> Call:
    async def run() -> Page:
        cutoff = await hand.retention.cutoff(RETENTION)
        return await hand.retention.prune(beginning(), cutoff, by_row=by_row)

    def acts(answer: Any) -> list[Act]:
        if isinstance(answer, Unheard):
            forgotten = [Debris(*row.values()) for row in hand.wire.unheard if row["id"] is not None]
        else:
            forgotten = answer.forgotten
        return [Pruned(owner(one)) for one in forgotten]

    return Call("prune by row" if by_row else "prune", hand, run, acts)


def admit(hand: Hand) -> Call:
    return Call("admit", hand, hand.queue.admit, no_acts)


def limit(hand: Hand, subject: int | str, most: int | None) -> Call:
    async def run() -> None:
        if isinstance(subject, int):
            await hand.gates.limit_tenant(NAMES[subject], weight=WEIGHTS[subject], max_running=most)
        else:
            await hand.gates.limit_pipeline(subject, max_running=most)

    return Call(f"limit {subject} to {most}", hand, run, no_acts)


def pause(hand: Hand, subject: int | str, *, whole: bool) -> Call:
    """Not `whole`: it is there, and whoever made it died before the jobs were held."""

    async def run() -> None:
        if not isinstance(subject, int):
            await hand.gates.pause_pipeline(subject, "ada", "a while", None)
        elif whole:
            await hand.gates.pause_tenant(NAMES[subject], "ada", "a while", None)
        else:
            await hand.pool.fetch(PAUSE_TENANT, subject, "ada", "a while", None)

    return Call(f"pause {subject}{'' if whole else ', and die'}", hand, run, no_acts)


def resume(hand: Hand, subject: int | str) -> Call:
    async def run() -> bool:
        if isinstance(subject, int):
            return await hand.gates.resume_tenant(NAMES[subject])
        return await hand.gates.resume_pipeline(subject)

    return Call(f"resume {subject}", hand, run, no_acts)


def expire(hand: Hand, subject: int | str) -> Call:
    """The time of a pause is over."""
    which = "tenant_id" if isinstance(subject, int) else "pipeline"
    end = f"update pause set expires_at = now() where {which} = $1"
    return Call(f"{subject} is not paused any more", hand, lambda: hand.pool.fetch(end, subject), no_acts)


def no_acts(_: Any) -> list[Act]:
    """It changes what may be claimed, and no job."""
    return []


def owner(debris: Debris) -> JobKey:
    """Whose it is: all outputs lie under the job's id."""
    return JobKey(debris.tenant, UUID(debris.keys[-1].partition("/")[0]))


def said(new: NewJob) -> str:
    """A job, as a note has it."""
    named = f" as {new.idempotency_key}" if new.idempotency_key else ""
    return f"{new.tenant}/{new.id.int} {new.pipeline}:{new.priority} {new.fingerprint!r}{named}"


def brief(answer: Any) -> str:
    """An answer, as a note has it."""
    match answer:
        case Change():
            text = f"{answer.state} {answer.reason} {answer.cursor}"
        case Lease():
            text = f"{answer.key} under {answer.lease_epoch}"
        case Page():
            text = brief([owner(one) for one in answer.forgotten])
        case dict():
            text = f"{{{', '.join(f'{tuple(key)}: {brief(value)}' for key, value in answer.items())}}}"
        case list() | tuple() if not isinstance(answer, JobKey):
            text = f"[{', '.join(map(brief, answer))}]"
        case _:
            text = str(answer)
    return text
