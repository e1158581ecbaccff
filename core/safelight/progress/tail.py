"""One subscription of a process: reads channels for ever, and says when it may have missed something.

Called by the API (news of jobs, for the hub) and by the processor (wake-ups, cancels). Redis
forgets what it sent to somebody who was away, so every new subscription begins with `resync`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis.asyncio import Redis

from safelight.progress.breaker import OUTAGES
from safelight.progress.stream import heed_cancellation
from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey

SILENCE = 5.0  # seconds without a message before the connection is tried
_log = structlog.get_logger()


class Message:
    """News as it comes off the channel: parsed as far as routing needs, the frame left as bytes.

    `kind` is `progress`, `state` (a durable event) or `end` (the last one).
    """

    __slots__ = ("cursor", "frame", "key", "kind")

    def __init__(self, data: bytes) -> None:
        head, _, self.frame = data.partition(b"\n")
        key, cursor, self.kind = head.decode().split(" ")
        self.key = JobKey.parse(key)
        self.cursor = Cursor.parse(cursor)


class Tail:
    """Subscribes to channels and hands what comes to `receive(channel, data)`, which must not block."""

    def __init__(
        self,
        redis: Redis,
        channels: list[str],
        receive: Callable[[str, bytes], None],
        resync: Callable[[], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._channels = channels
        self._receive = receive
        self._resync = resync
        self.connected = False

    async def run(self) -> None:
        """For ever; an outage is waited out with back-off, anything else ends the process."""
        wait = 0.1
        while True:
            heed_cancellation()
            try:
                await self._listen()
            except OUTAGES as error:
                if self.connected:
                    _log.warning("redis.lost", error=str(error))
                    wait = 0.1
                self.connected = False
            await asyncio.sleep(wait)
            wait = min(wait * 2, 2.0)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(*self._channels)
            waiting = len(self._channels)
            quiet = False
            while True:
                heed_cancellation()
                message = await subscription.get_message(timeout=SILENCE)
                if message is None:
                    if quiet:
                        raise TimeoutError("no answer to a ping")
                    await subscription.ping()
                    quiet = True
                    continue
                quiet = False
                if message["type"] == "subscribe":
                    waiting -= 1
                    if not waiting:
                        self.connected = True
                        _log.info("redis.subscribed", channels=self._channels)
                        await self._resync()
                elif message["type"] == "message":
                    self._receive(message["channel"].decode(), message["data"])
