"""GET /api/jobs..., cancel, retry, the timeline: everything about jobs that moves no image bytes."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import Parameter, QueryParameter

from safelight.errors import Failure
from safelight.jobs.batches import BatchKey
from safelight.jobs.job import Job
from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import News
from safelight.telemetry import metrics
from safelight.wire import resources
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey
from safelight.wire.resources import FINAL_STATES
from safelight_api.services import Services
from safelight_api.told import Answer

Req = Request[None, None, State]
_LONGEST_WAIT = 30.0
_MOST_RETRIED = 200  # jobs of one request
_CALM = 1.0  # seconds between two answers that tell only progress
_encode = msgspec.json.Encoder().encode


async def _readable(request: Req, services: Services, job_id: UUID) -> JobKey:
    caller = await services.auth.caller(request.headers)
    return caller.key(JobKey(caller.tenant, job_id), "read")


async def _writable(request: Req, services: Services, job_id: UUID) -> tuple[JobKey, bool]:
    """The job, and whether the answer may tell what came out of it."""
    caller = await services.auth.caller(request.headers)
    return caller.key(JobKey(caller.tenant, job_id), "write"), caller.reads


@get("/api/jobs/{job_id:uuid}")
async def read(
    request: Req,
    services: Services,
    job_id: UUID,
    wait: Annotated[float, Parameter(ge=0, le=60, description="seconds to wait for news")] = 0.0,
    after: Annotated[str | None, Parameter(description="the cursor you have")] = None,
) -> Response[resources.Job]:
    """The job. With `wait` and `after` the answer comes when there is news, or when the time is over."""
    key = await _readable(request, services, job_id)
    if wait > 0 and after is not None:
        await _news(services, key, Cursor.parse(after), min(wait, _LONGEST_WAIT))
    etag, body = await _answer(services, key)
    return _conditional(request, services, etag, body)


async def _answer(services: Services, key: JobKey) -> Answer:
    """What is remembered in Redis, or read from Postgres and remembered; never less than was told here."""
    with suppress(*OUTAGES):
        if found := await services.stream.body(key):
            return services.told.newest(key, Answer(*found))
    job = await services.job(key)
    read_now = Answer(f'"{job.cursor}"', _encode(await services.presenter.job(job)))
    answer = services.told.newest(key, read_now)
    with suppress(*OUTAGES):
        await services.stream.remember(key, answer.cursor, *answer)
    return answer


def _conditional(request: Req, services: Services, etag: str, body: bytes) -> Response[resources.Job]:
    again = services.settings.poll_after_ms / 1000
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Retry-After": str(max(1, round(again)))}
    if _has_it(request.headers.get("if-none-match"), etag):
        return Response(None, status_code=304, headers=headers)  # type: ignore[arg-type]
    return Response(body, media_type="application/json", headers=headers)  # type: ignore[arg-type]


def _has_it(told: str | None, etag: str) -> bool:
    """Whether a client that was told `told` is as far as `etag`, or further within the same run.

    When Redis goes away, Postgres may be some percent behind what was told before.
    """
    if told is None or told == etag:
        return told is not None
    try:
        theirs, ours = Cursor.parse(told.strip('"')), Cursor.parse(etag.strip('"'))
    except Failure:
        return False
    return theirs.durable == ours.durable and theirs > ours and not theirs.is_beyond(ours)


async def _news(services: Services, key: JobKey, after: Cursor, wait: float) -> None:
    """Returns when the job is further than `after`, or has ended, or the time is over, or this pod stops."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with services.hub.watch(key) as mailbox, services.leave.rings(mailbox.lost), suppress(TimeoutError):
        async with asyncio.timeout(wait):
            job = await services.job(key)
            while job.cursor <= after and not (_is_over(job, after) or services.leave.begun.is_set()):
                mailbox.told(job.cursor)
                await mailbox.wait()
                # A bar that moves once a second is smooth; an answer for each step would be a flood.
                await mailbox.wait_for_event(began + _CALM - loop.time())
                lost, messages = mailbox.take()
                if lost:
                    job = await services.job(key)
                    continue
                if any(message.cursor > after for message in messages):
                    return


def _is_over(job: Job, after: Cursor) -> bool:
    """Whether nothing can come after this cursor: the job has ended, or never was there."""
    return job.state in FINAL_STATES or after.is_beyond(job.cursor)


@get("/api/jobs")
async def index(
    request: Req,
    services: Services,
    only: Annotated[
        resources.State | None, QueryParameter(name="state", description="jobs in this state")
    ] = None,
    pipeline: str | None = None,
    code: Annotated[str | None, Parameter(description="failed jobs with this error code")] = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
    page: Annotated[str | None, Parameter(description="`next` of the page before")] = None,
) -> resources.JobPage:
    """My jobs, newest first; failed ones by their end."""
    tenant = (await services.auth.caller(request.headers)).owner("read")
    by_end, before = only == "failed" or code is not None, _unpage(page)
    if by_end:
        jobs = await services.queue.failed(
            tenant, pipeline=pipeline, code=code, before=before, limit=limit + 1
        )
    else:
        jobs = await services.queue.list(
            tenant, state=only, pipeline=pipeline, before=before, limit=limit + 1
        )
    shown = [await services.presenter.job(job, alone=False) for job in jobs[:limit]]
    return resources.JobPage(shown, _page(jobs[limit - 1], by_end=by_end) if len(jobs) > limit else None)


@post("/api/jobs/{job_id:uuid}/cancel", status_code=200)
async def cancel(request: Req, services: Services, job_id: UUID) -> resources.Job:
    """Cancels a job: at once when it waits, within a second or so when it runs."""
    key, reads = await _writable(request, services, job_id)
    job = await cancel_job(services, key)
    if job is None:
        await services.job(key)
        raise Failure("job_finished")
    return await services.presenter.job(job, reads=reads)


async def cancel_job(services: Services, key: JobKey) -> Job | None:
    """Cancels a job and tells of it; None when it is not live."""
    change = await services.queue.cancel(key)
    if change is None:
        return None
    job = await services.job(key)
    metrics.jobs_canceled_total.labels(pipeline=job.pipeline).inc()
    if change.state == "canceled":
        services.announcer.publish(News(key, change.cursor, change.frame(job.traceparent)))
        if change.batch is not None:
            await services.batches.end([BatchKey(key.tenant, change.batch)])
    else:
        services.announcer.cancel(key)
    return job


@post("/api/jobs/{job_id:uuid}/retry", status_code=202)
async def retry(request: Req, services: Services, job_id: UUID) -> resources.Job:
    """A failed or canceled job runs again, under the same id and with the next epoch."""
    key, reads = await _writable(request, services, job_id)
    job = await reopen_job(services, key)
    if job is None:
        job = await services.job(key)
        raise Failure("job_finished" if job.state == "succeeded" else "job_not_finished")
    return await services.presenter.job(job, reads=reads)


async def reopen_job(services: Services, key: JobKey) -> Job | None:
    """Has a failed or canceled job run again and tells of it; None when it is not in such a state."""
    change = await services.queue.reopen(key)
    if change is None:
        return None
    job = await services.job(key)
    services.announcer.publish(News(key, change.cursor, change.frame(job.traceparent)))
    services.announcer.wake()
    return job


@post("/api/jobs/retry", status_code=202)
async def retry_failed(
    request: Req, services: Services, pipeline: str | None = None, code: str | None = None
) -> resources.Changed:
    """My failed jobs of one kind run again, the newest first; `more` says that there are others."""
    tenant = (await services.auth.caller(request.headers)).owner("write")
    failed = await services.queue.failed(tenant, pipeline=pipeline, code=code, limit=_MOST_RETRIED + 1)
    again = [await reopen_job(services, job.key) for job in failed[:_MOST_RETRIED]]
    return resources.Changed(sum(job is not None for job in again), len(failed) > _MOST_RETRIED)


def _page(last: Job, *, by_end: bool) -> str:
    at = last.finished_at if by_end and last.finished_at else last.created_at
    text = f"{at.isoformat()}|{last.key.id}"
    return urlsafe_b64encode(text.encode()).decode()


def _unpage(page: str | None) -> tuple[datetime, UUID] | None:
    if page is None:
        return None
    try:
        at, _, job_id = urlsafe_b64decode(page).decode().partition("|")
        return datetime.fromisoformat(at), UUID(job_id)
    except ValueError:
        raise Failure("bad_request", "The page cannot be read; use `next` of the page before.") from None
