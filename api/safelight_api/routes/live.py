"""WS /api/jobs/{id}/live: one socket for one job. Owns the socket; what to say is decided by the session.

Three things wake it: news in the mailbox, something from the client, the time for a ping.
"""

import asyncio
from contextlib import suppress
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
    Pong,
    decode_client,
    now,
)
from safelight.wire.key import JobKey
from safelight.wire.uuid7 import uuid7
from safelight_api.live.follow import Follower, Told, error_frame, follow, told
from safelight_api.live.sockets import counted
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
        with counted(services.settings, leaving=services.leave.leaving):
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
        interval = services.settings.ping_seconds
        hello = Connected(session=uuid7().hex, ping_interval_ms=int(interval * 1000), server_time=now())
        async with follow(services, key, Cursor.parse(after) if after else None) as follower:
            await self._send(told(hello))
            await self._send(*await follower.begin())
            code = await self._follow(follower, interval)
        await self.close(code)

    async def _follow(self, follower: Follower, interval: float) -> CloseCode:
        loop = asyncio.get_running_loop()
        post = asyncio.ensure_future(follower.wait())
        going = asyncio.ensure_future(self._services.leave.turn())
        ping_at = loop.time() + interval
        try:
            while not follower.ended:
                self._receiving = self._receiving or asyncio.ensure_future(
                    self._socket.receive_data(mode="text")
                )
                await asyncio.wait(
                    {post, self._receiving, going},
                    timeout=max(0.0, ping_at - loop.time()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if going.done():
                    await self._send(told(GoAway(reconnect_after_ms=going.result())))
                    return CloseCode.GOING_AWAY
                if self._receiving.done():
                    received, self._receiving = self._receiving.result(), None
                    await self._hear(received)
                if post.done():
                    await self._send(*await follower.next())
                    post = asyncio.ensure_future(follower.wait())
                if loop.time() >= ping_at:
                    ping_at = loop.time() + interval
                    await self._send(follower.ping)
            return CloseCode.DONE
        finally:
            post.cancel()
            going.cancel()

    async def _hear(self, text: str | bytes) -> None:
        """Whatever a client sends: answered, never fatal."""
        try:
            if len(text) > _LARGEST:
                raise msgspec.DecodeError("too large")
            decode_client(text)
        except msgspec.DecodeError as error:
            await self._send(
                told(ErrorFrame(code="bad_request", message=f"Not a frame: {error}", retryable=False))
            )
        else:
            await self._send(told(Pong()))

    async def _authorize(self, job_id: UUID) -> JobKey:
        """A key or token from the header, or, as browsers send none, from a subprotocol `token.TOKEN`."""
        offers = self._socket.scope.get("subprotocols") or []
        token = next((offer[6:] for offer in offers if offer.startswith("token.")), None)
        caller = await self._services.auth.caller(self._socket.headers, token)
        return caller.key(JobKey(caller.tenant, job_id), "read")

    async def _send(self, *frames: Told) -> None:
        for frame in frames:
            metrics.live_frames_total.labels(type=frame.kind).inc()
            async with asyncio.timeout(_SEND_SECONDS):
                await self._socket.send_data(frame.data.decode(), mode="text")

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
                    await self._send(told(error_frame(failure)))
                await self._socket.close(code=int(code), reason=code.name.lower())
