"""Publishes news of jobs, and remembers what a poller was told.

Called by the processor's reporter and the API's routes (publish, wake, cancel) and by the API's
status read (body, latest, remember). The other end of the channels is `tail`.
"""

import asyncio
from importlib.resources import files
from typing import NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from safelight import addresses
from safelight.errors import Failure
from safelight.progress import keys
from safelight.progress.breaker import OUTAGES, Breaker
from safelight.wire.cursor import Cursor
from safelight.wire.frames import ProgressFrame, StateFrame, encode
from safelight.wire.key import JobKey
from safelight.wire.resources import FINAL_STATES

_decode_progress = msgspec.json.Decoder(ProgressFrame).decode
_LUA = {
    name: (files("safelight.progress") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    for name in ("publish", "remember")
}


def connect(url: str, *, timeout: float = 1.0) -> Redis:
    """A client that gives up soon and does not retry: a hint that comes late is none.

    Raises:
        Failure: `setting_invalid`: the address is none.
    """
    try:
        return Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=15,
            max_connections=64,
        )
    except ValueError:  # an option of it; what it says may be a secret
        raise Failure("setting_invalid", f"SAFELIGHT_REDIS_URL: expected {addresses.REDIS}") from None


def heed_cancellation() -> None:
    """To be called in every turn of a loop that talks to Redis.

    The client's own time limits can swallow a cancellation, or turn it into a TimeoutError; a loop
    that goes on after that can never be stopped.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class News(NamedTuple):
    """Something that watchers of a job are told."""

    key: JobKey
    cursor: Cursor
    frame: ProgressFrame | StateFrame


class Stream:
    """The writing and remembering side; any number may live in any process."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._publish = redis.register_script(_LUA["publish"])
        self._remember = redis.register_script(_LUA["remember"])
        self._asked: dict[str, asyncio.Future[bytes | None]] = {}
        # Around what a person waits for; what is published waits in a queue, and is worth every try.
        self._breaker = Breaker(redis.ping)
        self._fetching: set[asyncio.Task[None]] = set()  # the loop itself holds on to no task

    async def publish(self, news: News) -> bool:
        """Tells the watchers; False when something newer is known.

        Raises:
            OUTAGES: Redis is away; the news is in Postgres all the same.
        """
        frame = encode(news.frame)
        if isinstance(news.frame, ProgressFrame):
            kind, moving = "progress", True
        else:
            kind, moving = "end" if news.frame.state in FINAL_STATES else "state", False
        message = f"{news.key} {news.cursor} {kind}\n".encode() + frame
        answer = await self._publish(
            keys=[keys.top(news.key), keys.body(news.key)],
            args=[*news.cursor, frame if moving else b"", keys.LIVE, message, keys.TOP_SECONDS],
        )
        return bool(answer)

    async def wake(self) -> None:
        """Tells the processors that a job is waiting."""
        await self._redis.publish(keys.WAKE, b"")

    async def cancel(self, key: JobKey) -> None:
        """Tells the processors that a run was asked to stop."""
        await self._redis.publish(keys.CANCEL, str(key))

    async def latest(self, key: JobKey) -> ProgressFrame | None:
        """The newest progress that is known, for a job that runs."""
        with self._breaker:
            frame = await self._redis.hget(keys.top(key), "f")
        return _decode_progress(frame) if frame else None

    async def remember(self, key: JobKey, cursor: Cursor, etag: str, body: bytes) -> None:
        """Keeps an answer for the next poller, for two seconds at most."""
        with self._breaker:
            await self._remember(
                keys=[keys.top(key), keys.body(key)],
                args=[*cursor, etag.encode() + b"\n" + body, keys.BODY_MS, keys.TOP_SECONDS],
            )

    async def body(self, key: JobKey) -> tuple[str, bytes] | None:
        """The remembered answer: its ETag and its bytes.

        Everybody who asks in the same turn of the loop shares one MGET: a command's cost is mostly
        its round trip, and a thousand pollers come in bursts.
        """
        with self._breaker:
            found = await asyncio.shield(self._ask(keys.body(key)))
        if found is None:
            return None
        etag, _, answer = found.partition(b"\n")
        return etag.decode(), answer

    def _ask(self, name: str) -> "asyncio.Future[bytes | None]":
        asked = self._asked.get(name)
        if asked is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._begin_to_fetch)
            asked = self._asked[name] = loop.create_future()
        return asked

    def _begin_to_fetch(self) -> None:
        task = asyncio.get_running_loop().create_task(self._fetch())
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _fetch(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            found = await self._redis.mget(list(asked))
        except BaseException as error:
            for future in asked.values():
                if not future.done():
                    future.set_exception(error if isinstance(error, OUTAGES) else ConnectionError())
                    future.exception()  # those who asked may be gone
            return
        for future, value in zip(asked.values(), found, strict=True):
            if not future.done():
                future.set_result(value if isinstance(value, bytes) else None)

    async def ping(self) -> None:
        """Returns when Redis answers.

        Raises:
            Failure: `unavailable`.
        """
        try:
            await self._redis.ping()
        except OUTAGES as error:
            raise Failure("unavailable", "Redis is away.") from error
