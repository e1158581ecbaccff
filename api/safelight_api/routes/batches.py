"""/api/batches: jobs that were submitted together, as one object.

A client makes a batch of a size, submits its jobs with `batch=ID`, and reads one progress and one end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from litestar import Request, Response, get, post, put
from litestar.datastructures import State
from litestar.params import Parameter

from safelight.errors import Failure
from safelight.jobs.batches import BatchKey
from safelight.jobs.job import Job
from safelight.wire import resources
from safelight.wire.key import JobKey
from safelight.wire.uuid7 import uuid7
from safelight_api.routes.jobs import cancel_job, reopen_job
from safelight_api.services import Services

Req = Request[None, None, State]
_LONGEST_WAIT = 30.0
_LOOK = 1.0  # seconds between two looks of somebody who waits
_MOST = 10_000


@post("/api/batches", status_code=201)
async def create(request: Req, services: Services, data: resources.BatchRequest) -> resources.Batch:
    """A new batch, which waits for its jobs."""
    return await _create(request, services, uuid7(), data)


@put("/api/batches/{batch_id:uuid}", status_code=201)
async def create_as(
    request: Req, services: Services, batch_id: UUID, data: resources.BatchRequest
) -> resources.Batch:
    """The same under the client's own id; a repeat makes no second one."""
    return await _create(request, services, batch_id, data)


async def _create(
    request: Req, services: Services, batch_id: UUID, data: resources.BatchRequest
) -> resources.Batch:
    caller = await services.auth.caller(request.headers)
    key = BatchKey(caller.owner("write"), batch_id)
    await services.batches.create(key, data.size)
    return await _batch(services, key)


async def _batch(services: Services, key: BatchKey) -> resources.Batch:
    batch = await services.batches.get(key)
    if batch is None:
        raise Failure("batch_not_found")
    return services.presenter.batch(batch)


@get("/api/batches/{batch_id:uuid}")
async def read(
    request: Req,
    services: Services,
    batch_id: UUID,
    wait: Annotated[float, Parameter(ge=0, le=60, description="seconds to wait for its end")] = 0.0,
) -> Response[resources.Batch]:
    """The batch. With `wait` the answer comes when it has ended, or when the time is over."""
    key = BatchKey((await services.auth.caller(request.headers)).owner("read"), batch_id)
    batch = await _batch(services, key)
    with suppress(TimeoutError):
        async with asyncio.timeout(min(wait, _LONGEST_WAIT)):
            while wait and not batch.ended and not services.leave.begun.is_set():
                await asyncio.sleep(_LOOK)
                batch = await _batch(services, key)
    return Response(batch, headers={"Retry-After": str(max(1, round(batch.poll_after_ms / 1000)))})


@get("/api/batches/{batch_id:uuid}/jobs")
async def jobs(request: Req, services: Services, batch_id: UUID) -> resources.JobPage:
    """Its jobs in the order in which they were submitted, all at once, with the outputs there are."""
    tenant = (await services.auth.caller(request.headers)).owner("read")
    await _batch(services, BatchKey(tenant, batch_id))
    found = await services.queue.list_batch(tenant, batch_id, _MOST)
    return resources.JobPage([await services.presenter.job(job, alone=False) for job in found], None)


@post("/api/batches/{batch_id:uuid}/cancel", status_code=200)
async def cancel(request: Req, services: Services, batch_id: UUID) -> resources.Changed:
    """Cancels every job of the batch that has not ended."""
    return await _each(request, services, batch_id, cancel_job, {"queued", "running"})


@post("/api/batches/{batch_id:uuid}/retry", status_code=202)
async def retry(request: Req, services: Services, batch_id: UUID) -> resources.Changed:
    """What failed, and nothing else, runs again."""
    return await _each(request, services, batch_id, reopen_job, {"failed"})


async def _each(
    request: Req,
    services: Services,
    batch_id: UUID,
    change: Callable[[Services, JobKey], Awaitable[Job | None]],
    states: set[str],
) -> resources.Changed:
    tenant = (await services.auth.caller(request.headers)).owner("write")
    await _batch(services, BatchKey(tenant, batch_id))
    jobs = await services.queue.list_batch(tenant, batch_id, _MOST)
    changed = [await change(services, job.key) for job in jobs if job.state in states]
    return resources.Changed(sum(job is not None for job in changed), more=False)
