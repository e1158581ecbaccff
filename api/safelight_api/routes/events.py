"""GET /api/jobs/{id}/events: what happened to a job, as a list or as a stream that goes on (SSE).

The stream is the live socket's sibling for networks that let no WebSocket through: the same frames with the
same cursors, which are its event ids. A browser that comes back says the last one (`Last-Event-ID`) and is
told what it missed; once the job has ended and it knows, `204` tells it to stay away.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response import Stream

from safelight.errors import Failure
from safelight.telemetry import metrics
from safelight.wire.cursor import Cursor
from safelight.wire.frames import Connected, GoAway, StateFrame, now
from safelight.wire.key import JobKey
from safelight.wire.resources import FINAL_STATES
from safelight.wire.uuid7 import uuid7
from safelight_api.live.follow import Told, error_frame, follow, told
from safelight_api.live.sockets import counted
from safelight_api.services import Services

Req = Request[None, None, State]
EVENT_STREAM = "text/event-stream"
_DESCRIPTION = "The timeline; or, when asked for, a stream of frames"
_RETRY_MS = 1000  # until a browser comes back by itself
_log = structlog.get_logger()


class Timeline(msgspec.Struct, frozen=True):
    """Every durable event of a job's incarnation, in order."""

    events: list[StateFrame]


@get(
    "/api/jobs/{job_id:uuid}/events",
    responses={200: ResponseSpec(Timeline, description=_DESCRIPTION, generate_examples=False)},
)
async def events(
    request: Req,
    services: Services,
    job_id: UUID,
    after: Annotated[str | None, Parameter(description="the cursor you have; of a stream")] = None,
) -> Response[Any]:
    """What happened to a job, in order; `Accept: text/event-stream` goes on with what happens."""
    caller = await services.auth.caller(request.headers)
    key = caller.key(JobKey(caller.tenant, job_id), "read")
    job = await services.job(key)
    if EVENT_STREAM not in request.headers.get("accept", ""):
        past = await services.queue.timeline(job)
        return Response(Timeline([await services.presenter.event(job, event) for event in past]))
    known = request.headers.get("last-event-id") or after
    cursor = Cursor.parse(known) if known else None
    if cursor is not None and cursor.durable == job.cursor and job.state in FINAL_STATES:
        return Response(None, status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would keep frames for itself
    return Stream(_stream(services, key, cursor), media_type=EVENT_STREAM, headers=headers)


async def _stream(services: Services, key: JobKey, after: Cursor | None) -> AsyncIterator[bytes]:
    """The stream's bytes. It ends with the job, or when this process does."""
    try:
        with counted(services.settings, leaving=services.leave.leaving):
            async with aclosing(_frames(services, key, after)) as frames:
                async for frame in frames:
                    metrics.live_frames_total.labels(type=frame.kind).inc()
                    yield _event(frame)
    except Failure as failure:
        yield _event(told(error_frame(failure)))
    except Exception:
        # A bug of ours is no reason for the client to stay away.
        _log.exception("live.failed")
        yield _event(told(error_frame(Failure("unavailable"))))


async def _frames(services: Services, key: JobKey, after: Cursor | None) -> AsyncGenerator[Told, None]:
    interval = services.settings.ping_seconds
    yield told(Connected(session=uuid7().hex, ping_interval_ms=int(interval * 1000), server_time=now()))
    async with follow(services, key, after) as follower:
        going = asyncio.ensure_future(services.leave.turn())
        post = asyncio.ensure_future(follower.wait())
        try:
            for frame in await follower.begin():
                yield frame
            while not follower.ended:
                done, _ = await asyncio.wait(
                    {post, going}, timeout=interval, return_when=asyncio.FIRST_COMPLETED
                )
                if going in done:
                    yield told(GoAway(reconnect_after_ms=going.result()))
                    return
                if post in done:
                    frames = await follower.next()
                    post = asyncio.ensure_future(follower.wait())
                    for frame in frames:
                        yield frame
                else:
                    yield follower.ping
        finally:
            post.cancel()
            going.cancel()


def _event(frame: Told) -> bytes:
    """A frame as the stream has it. What moves its reader on has an id, of which a browser keeps the last.

    A gap has none: it is the snapshot after it that brings the reader there.
    """
    name = f"id: {frame.cursor}\n" if frame.cursor and frame.kind != "gap" else ""
    retry = f"retry: {_RETRY_MS}\n" if frame.kind == "connected" else ""
    return f"{retry}{name}event: {frame.kind}\ndata: ".encode() + frame.data + b"\n\n"
