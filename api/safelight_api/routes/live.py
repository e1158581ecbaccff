"""WS /api/jobs/{id}/live: one socket for one job. Owns the socket; what to say is decided by the session.

Three things wake it: news in the mailbox, something from the client, the time for a ping.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec
import structlog
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from safelight.errors import Failure
from safelight.telemetry import metrics
from safelight.wire.codes import CloseCode
from safelight.wire.cursor import Cursor
from safelight.wire.frames import (
    Connected,
    ErrorFrame,
    GoAway,
    Ping,
    Pong,
    ServerFrame,
    decode_client,
    encode,
    now,
)
from safelight.wire.key import JobKey
from safelight.wire.uuid7 import uuid7
from safelight_api.live.mailbox import Mailbox
from safelight_api.live.session import Session, Verdict
from safelight_api.problems import close_code
from safelight_api.services import Services

PROTOCOL = "safelight.v1"
_SEND_SECONDS = 10.0  # a reader that takes nothing for so long is too slow
_LARGEST = 64 * 1024
_log = structlog.get_logger()
Socket = WebSocket[None, None, Any]


@websocket("/api/jobs/{job_id:uuid}/live")
async def live(socket: Socket, services: Services, job_id: UUID) -> None:
    """Watches one job until it ends or the client goes."""
    offered = socket.scope.get("subprotocols") or []
    await socket.accept(subprotocols=PROTOCOL if PROTOCOL in offered else None)
    connection = Connection(socket, services)
    try:
        with _counted(services):
            await connection.serve(job_id)
    except Failure as failure:
        await connection.close(close_code(failure), failure)
    except TimeoutError:
        metrics.live_slow_consumers_total.inc()
        await connection.close(CloseCode.SLOW_CONSUMER)
    except (WebSocketDisconnect, ConnectionError):
        pass
    except Exception:
        # A bug of ours is no reason for the client to stay away.
        _log.exception("live.failed")
        await connection.close(CloseCode.UNAVAILABLE)
    finally:
        await connection.stop_receiving()


class Connection:
    """A socket, the task that listens to it, and what is sent."""

    def __init__(self, socket: Socket, services: Services) -> None:
        self._socket = socket
        self._services = services
        # One task for ever: canceling a receive loses messages, and a close hangs while one is pending.
        self._receiving: asyncio.Task[str | bytes] | None = None

    async def serve(self, job_id: UUID) -> None:
        """Tells everything about a job, from the client's cursor to its end."""
        services = self._services
        key = await self._authorize(job_id)
        after = self._socket.query_params.get("after")
        session = Session(services.presenter, Cursor.parse(after) if after else None)
        interval = services.settings.ping_seconds
        hello = Connected(session=uuid7().hex, ping_interval_ms=int(interval * 1000), server_time=now())
        with services.hub.watch(key) as mailbox:
            await self._send(hello)
            await self._catch_up(key, session, mailbox)
            metrics.live_resumes_total.labels(outcome=session.outcome).inc()
            await self._follow(key, session, mailbox, interval)
        await self.close(CloseCode.DONE)

    async def _follow(self, key: JobKey, session: Session, mailbox: Mailbox, interval: float) -> None:
        loop = asyncio.get_running_loop()
        post = asyncio.ensure_future(mailbox.wait())
        stopping = asyncio.ensure_future(self._services.stopping.wait())
        ping_at = loop.time() + interval
        try:
            while not session.ended:
                self._receiving = self._receiving or asyncio.ensure_future(
                    self._socket.receive_data(mode="text")
                )
                await asyncio.wait(
                    {post, self._receiving, stopping},
                    timeout=max(0.0, ping_at - loop.time()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if stopping.done():
                    await self._send(GoAway(reconnect_after_ms=0))
                    raise Failure("unavailable")
                if self._receiving.done():
                    received, self._receiving = self._receiving.result(), None
                    await self._hear(received)
                if post.done():
                    await self._deliver(key, session, mailbox)
                    post = asyncio.ensure_future(mailbox.wait())
                if loop.time() >= ping_at:
                    ping_at = loop.time() + interval
                    top = max(mailbox.top, session.told or mailbox.top)
                    await self._send(Ping(cursors={str(key.id): str(top)}))
        finally:
            post.cancel()
            stopping.cancel()

    async def _deliver(self, key: JobKey, session: Session, mailbox: Mailbox) -> None:
        lost, messages = mailbox.take()
        for message in messages:
            verdict = session.news(message)
            if verdict is Verdict.ASK:
                lost = True
                break
            if verdict is Verdict.SEND:
                await self._send_bytes(message.frame, "progress" if message.kind == "progress" else "state")
        if lost and not session.ended:
            await self._catch_up(key, session, mailbox)

    async def _catch_up(self, key: JobKey, session: Session, mailbox: Mailbox) -> None:
        services = self._services
        while True:
            job = await services.job(key)
            events = await services.queue.timeline(job)
            # The job may have moved between the two reads; then the timeline does not reach it.
            if events[-1].cursor == job.cursor.durable:
                break
        for frame in await session.catch_up(job, events):
            await self._send(frame)
        mailbox.told(job.cursor)

    async def _hear(self, text: str | bytes) -> None:
        """Whatever a client sends: answered, never fatal."""
        try:
            if len(text) > _LARGEST:
                raise msgspec.DecodeError("too large")
            decode_client(text)
        except msgspec.DecodeError as error:
            await self._send(ErrorFrame(code="bad_request", message=f"Not a frame: {error}", retryable=False))
        else:
            await self._send(Pong())

    async def _authorize(self, job_id: UUID) -> JobKey:
        """A key or token from the header, or, as browsers send none, from a subprotocol `token.TOKEN`."""
        offers = self._socket.scope.get("subprotocols") or []
        token = next((offer[6:] for offer in offers if offer.startswith("token.")), None)
        caller = await self._services.auth.caller(self._socket.headers, token)
        return caller.key(JobKey(caller.tenant, job_id), "read")

    async def _send(self, frame: ServerFrame) -> None:
        await self._send_bytes(encode(frame), str(frame.__struct_config__.tag))

    async def _send_bytes(self, data: bytes, kind: str) -> None:
        metrics.live_frames_total.labels(type=kind).inc()
        async with asyncio.timeout(_SEND_SECONDS):
            await self._socket.send_data(data.decode(), mode="text")

    async def stop_receiving(self) -> None:
        """Ends the pending receive, and with it everything that keeps the socket from closing."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
            self._receiving = None

    async def close(self, code: CloseCode, failure: Failure | None = None) -> None:
        """Closes with a code that says what to do; a client that is gone already is no error."""
        await self.stop_receiving()
        with suppress(Exception):
            async with asyncio.timeout(2):
                if failure is not None:
                    await self._send(
                        ErrorFrame(code=failure.code, message=failure.message, retryable=failure.retryable)
                    )
                await self._socket.close(code=int(code), reason=code.name.lower())


@contextmanager
def _counted(services: Services) -> Iterator[None]:
    """Counts the socket, and refuses it when this process has enough."""
    if len(_open) >= services.settings.max_sockets:
        raise Failure("unavailable")
    token = object()
    _open.add(token)
    metrics.live_sockets.inc()
    try:
        yield
    finally:
        _open.discard(token)
        metrics.live_sockets.dec()


_open: set[object] = set()
