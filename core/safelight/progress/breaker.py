"""Keeps those who only want a hint from waiting for a Redis that has just not answered.

Used by `stream` for what a request reads and remembers there. What refuses a connection does so at once; what
hangs costs the whole time limit, at every call. So the first failure opens the breaker: from then on a call
is refused at once, until a ping of the breaker's own is answered. It needs no loop: a refused call begins
the ping and does not wait for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as LateError

# What a command raises while Redis is away. A caller goes on without it.
OUTAGES: tuple[type[BaseException], ...] = (RedisError, OSError, TimeoutError)
# Not what Redis itself answers with.
_AWAY = (LostError, LateError, OSError, TimeoutError)
_PAUSE = 0.5  # seconds between two pings
_log = structlog.get_logger()


class Breaker:
    """Use it as a context around a call.

    Raises:
        OUTAGES: Redis has not answered lately; on entry, and so without the call.
    """

    def __init__(self, ping: Callable[[], Awaitable[object]]) -> None:
        self._ping = ping
        self._open = False
        self._again = 0.0
        self._pinging: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if self._open:
            self._try()
            raise LostError("Redis has not answered lately")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Too many calls at once are no reason to send all of them to Postgres.
        if isinstance(error, _AWAY) and not isinstance(error, MaxConnectionsError) and not self._open:
            _log.warning("redis.silent", error=repr(error))
            self._open, self._again = True, 0.0
            self._try()

    def _try(self) -> None:
        if self._pinging is None and time.monotonic() >= self._again:
            self._pinging = asyncio.get_running_loop().create_task(self._until_answered())

    async def _until_answered(self) -> None:
        try:
            await self._ping()
            self._open = False
            _log.info("redis.answers")
        except OUTAGES:
            self._again = time.monotonic() + _PAUSE
        finally:
            self._pinging = None
