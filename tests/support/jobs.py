"""Jobs in any state, for tests that need one."""

from typing import Any
from uuid import UUID

import msgspec

from safelight.jobs.job import Ended, Lease, NewJob
from safelight.jobs.queue import JobQueue
from safelight.wire.key import JobKey
from safelight.wire.resources import JobError
from safelight.wire.trace import traceparent
from safelight.wire.uuid7 import uuid7

WORKER = UUID(int=1)
LEASE = 15.0


def new_job(**changes: Any) -> NewJob:
    """A job that nobody has enqueued yet."""
    job = NewJob(
        tenant=1,
        id=uuid7(),
        pipeline="noop",
        params="{}",
        inputs=[],
        fingerprint=b"same",
        idempotency_key=None,
        max_attempts=3,
        traceparent=traceparent(None),
    )
    return msgspec.structs.replace(job, **changes)


async def enqueue(queue: JobQueue, **changes: Any) -> JobKey:
    """A job that waits."""
    job = new_job(**changes)
    found, _ = await queue.enqueue(job)
    return JobKey(job.tenant, found)


async def claim(queue: JobQueue, lease_seconds: float = LEASE, pipeline: str = "noop") -> Lease:
    """The oldest job that waits, now running."""
    [lease] = await queue.claim([pipeline], 1, WORKER, lease_seconds)
    return lease


async def running(queue: JobQueue, **changes: Any) -> Lease:
    """A job that runs. The queue must be empty."""
    await enqueue(queue, **changes)
    return await claim(queue)


def succeeded(lease: Lease, **changes: Any) -> Ended:
    """How a run says that all went well."""
    ended = Ended(
        fence=lease.fence, state="succeeded", reason="completed", progress=100.0, stage=None, result='{"a":1}'
    )
    return msgspec.structs.replace(ended, **changes)


def failed(lease: Lease, code: str = "pipeline_failed") -> Ended:
    """How a run says that it is of no use."""
    error = JobError(code, "It failed.", retryable=False)
    return Ended(fence=lease.fence, state="failed", reason="failed", progress=40.0, stage="x", error=error)


ERROR = JobError("storage_unavailable", "It may pass.", retryable=True)
