"""POST /api/jobs, PUT /api/jobs/{id}: images in, a job out.

The order is the promise: bytes are stored, the job row is committed, and only then is `202` said.
"""

from collections.abc import AsyncIterator
from uuid import UUID

from litestar import Request, Response, post, put
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from safelight.errors import Failure
from safelight.jobs.batches import BatchKey
from safelight.jobs.job import NewJob, StoredFile
from safelight.telemetry import metrics
from safelight.wire import resources
from safelight.wire.key import JobKey
from safelight.wire.trace import traceparent
from safelight.wire.uuid7 import uuid7
from safelight_api.auth import Caller
from safelight_api.offers import check_images, check_params, check_priority, content, fingerprint, in_batch
from safelight_api.services import Services
from safelight_api.upload.receive import Caps, Submission, linger, receive_body

Req = Request[None, None, State]
_ANSWERS = {202: ResponseSpec(resources.Job, description="Accepted: job and bytes are committed")}
_MOST_KEY = 200


@post("/api/jobs", request_max_body_size=None, responses=_ANSWERS, status_code=202)
async def submit(request: Req, services: Services) -> Response[resources.Job]:
    """Submits a job: the raw image as the body, or multipart with `pipeline`, `params` and files."""
    return await _accept(request, services, uuid7())


@put("/api/jobs/{job_id:uuid}", request_max_body_size=None, responses=_ANSWERS, status_code=202)
async def submit_as(request: Req, services: Services, job_id: UUID) -> Response[resources.Job]:
    """Submits a job under the client's own id, so that a repeat never makes a second one."""
    return await _accept(request, services, job_id)


async def _accept(request: Req, services: Services, job_id: UUID) -> Response[resources.Job]:
    body = request.stream()
    try:
        caller, idempotency_key = await _before_the_body(request, services)
        if request.method == "PUT":
            # Sent again after all was over and forgotten: running it once more is not what was asked for.
            await services.refuse_forgotten(JobKey(caller.tenant, job_id))
    except Failure:
        # Who is still sending could not hear it otherwise. Later refusals come from `receive_body`, which
        # does the same, or when the body has been read.
        await linger(body)
        raise
    tenant = caller.tenant
    received = await _receive(request, services, tenant, job_id, body)
    try:
        new, token_key, created = await _enqueue(request, services, caller, job_id, idempotency_key, received)
    except Failure as failure:
        # Without an answer from Postgres the job may have been accepted all the same: its bytes stay.
        if failure.code != "unavailable":
            await _forget(services, tenant, received)
        raise
    if created:
        services.announcer.wake()
        metrics.jobs_enqueued_total.labels(pipeline=new.pipeline).inc()
    else:
        await _forget(services, tenant, received)
    job = await services.presenter.job(
        await services.job(token_key),
        token=await services.auth.job_token(token_key, caller),
        reads=caller.reads,
    )
    repeat = not created and request.method == "PUT"
    return Response(job, status_code=200 if repeat else 202, headers={"Location": job.links.self})


async def _before_the_body(request: Req, services: Services) -> tuple[Caller, str | None]:
    """The caller and the idempotency key; what can be refused now costs no upload."""
    caller = await services.auth.caller(request.headers)
    caller.owner("write")
    idempotency_key = _idempotency_key(request)
    check_priority(request.query_params.get("priority"))
    if "pipeline" in request.query_params:
        info = await services.offers.find(request.query_params["pipeline"])
        check_params(info, request.query_params.get("params"))
    return caller, idempotency_key


async def _receive(
    request: Req, services: Services, tenant: int, job_id: UUID, body: AsyncIterator[bytes]
) -> Submission:
    settings = services.settings
    length = request.headers.get("content-length")
    return await receive_body(
        body,
        content_type=request.headers.get("content-type", ""),
        content_length=int(length) if length and length.isdigit() else None,
        fields={
            name: request.query_params[name]
            for name in ("pipeline", "priority", "params", "name", "batch", "reuse")
            if name in request.query_params
        },
        store=services.store,
        tenant=tenant,
        # Unique to this upload: two requests with one id must not write over each other.
        prefix=f"{job_id}/in/{uuid7().hex[-8:]}",
        caps=Caps(
            bytes=settings.max_upload_bytes,
            pixels=settings.max_pixels,
            side=settings.max_side,
            files=settings.max_files,
            idle_seconds=settings.upload_idle_seconds,
        ),
    )


async def _enqueue(
    request: Req,
    services: Services,
    caller: Caller,
    job_id: UUID,
    idempotency_key: str | None,
    received: Submission,
) -> tuple[NewJob, JobKey, bool]:
    tenant = caller.tenant
    info = await services.offers.find(received.fields.get("pipeline"))
    params = check_params(info, received.fields.get("params"))
    check_images(info, received.files)
    digest = fingerprint(info.name, params, received.files)
    batch = await _batch(services, tenant, received.fields.get("batch"))
    new = NewJob(
        tenant=tenant,
        id=job_id,
        pipeline=info.name,
        priority=min(check_priority(received.fields.get("priority")), caller.max_priority),
        params=params,
        inputs=[
            StoredFile(
                name=file.name,
                key=file.key,
                media_type=file.media_type,
                bytes=file.bytes,
                width=file.width,
                height=file.height,
                sha256=file.sha256.hex(),
            )
            for file in received.files
        ],
        fingerprint=in_batch(digest, batch),
        idempotency_key=idempotency_key,
        content=content(info, digest) if _may_reuse(request, received.fields.get("reuse")) else None,
        batch=batch,
        weight=sum(file.width * file.height for file in received.files) / 1e6,
        max_attempts=info.max_attempts or services.settings.max_attempts,
        traceparent=traceparent(request.headers.get("traceparent")),
        named=request.method == "PUT",
    )
    accepted, created = await services.queue.enqueue(new)
    return new, JobKey(tenant, accepted), created


async def _forget(services: Services, tenant: int, received: Submission) -> None:
    for file in received.files:
        await services.store.delete(tenant, file.key)


def _may_reuse(request: Req, said: str | None) -> bool:
    """Whether another job of the same content may answer; a job under the client's id is its own."""
    if said not in {None, "true", "false"}:
        raise Failure("bad_request", "`reuse` is true or false.")
    return said == "true" if said else request.method == "POST" and "idempotency-key" not in request.headers


async def _batch(services: Services, tenant: int, said: str | None) -> UUID | None:
    """The batch that a job belongs to.

    Raises:
        Failure: `batch_not_found`.
    """
    if said is None:
        return None
    try:
        key = BatchKey(tenant, UUID(said))
    except ValueError:
        raise Failure("batch_not_found") from None
    if await services.batches.get(key) is None:
        raise Failure("batch_not_found")
    return key.id


def _idempotency_key(request: Req) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _MOST_KEY:
        raise Failure("bad_request", f"An Idempotency-Key has 1 to {_MOST_KEY} characters.")
    return key
