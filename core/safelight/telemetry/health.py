"""Is this process alive, is it ready? The answers to /livez and /readyz, and the processor's small server.

alive    its loops still turn. A loop that fails turns too: a restart does not bring Postgres back.
ready    everything it cannot work without has answered once, and not long ago: a check that hangs is as bad
         as one that fails. Redis is a hint and does not count. Patience keeps a blip of a dependency that all
         pods share from taking all of them out of the load balancer at once.

`loops.supervise` reports here; the API answers from here in its routes, the processor through `serving`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple

import msgspec
import structlog

from safelight.errors import Failure
from safelight.telemetry import metrics

# Checks that a process needs to be ready, as far as it has them.
NEEDED = ("database", "ready")
PATIENCE = 15.0  # seconds that a check is due before a ready process is no longer ready
_STUCK = 120.0  # seconds without the end of a turn, at least; a statement ends after ten
_STUCK_INTERVALS = 10
_GAUGES = {"database": metrics.database_up, "redis": metrics.redis_up}

_HEAD = 8 * 1024  # bytes of a request
_SECONDS = 5.0  # for a request, and for taking its answer
_CONNECTIONS = 32
_JSON = "application/json"
_log = structlog.get_logger()


class _Check:
    """One name: whether it ever passed, when it is due again, whether it fails, when its last turn ended."""

    def __init__(self, now: float) -> None:
        self.passed = False
        self.failing = False
        self.turned = self.due = now
        self.interval = 0.0

    def stuck(self, now: float) -> bool:
        return now - self.turned > max(_STUCK, _STUCK_INTERVALS * self.interval)

    def good(self, now: float, patience: float) -> bool:
        return self.passed and now - self.due < patience

    def word(self, now: float, patience: float) -> str:
        """For people and probes. Why it fails is in the log, as this is public."""
        if self.stuck(now):
            return "stuck"
        if self.failing:
            return "failing"
        if not self.passed:
            return "not yet"
        return "ok" if self.good(now, patience) else "late"


class Health:
    """The named checks of a process, each with its last result."""

    def __init__(
        self,
        needed: Iterable[str] = NEEDED,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self._needed = frozenset(needed)
        self._clock = clock
        self._patience = patience
        self._checks: dict[str, _Check] = {}
        self._stopping = False

    def expect(self, name: str) -> None:
        """There is such a check; it has not been made yet."""
        self._checks.setdefault(name, _Check(self._clock()))

    def passed(self, name: str, interval: float = 0.0) -> None:
        """It went well; the next turn begins after `interval` seconds."""
        check = self._turn(name)
        check.passed, check.failing, check.interval = True, False, interval
        check.due = check.turned + interval
        metrics.loop_last_success_timestamp_seconds.labels(loop=name).set(time.time())
        if name in _GAUGES:
            _GAUGES[name].set(1)

    def failed(self, name: str) -> None:
        """It failed."""
        self._turn(name).failing = True
        if name in _GAUGES:
            _GAUGES[name].set(0)

    def stop(self) -> None:
        """The process is about to stop: alive, but not ready, from now on."""
        self._stopping = True

    def live(self) -> tuple[bool, dict[str, object]]:
        """Whether a restart is not called for, and every check's state in a word."""
        now = self._clock()
        return not any(check.stuck(now) for check in self._checks.values()), self._words(now)

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether work should come here, and every check's state in a word."""
        now = self._clock()
        needed = [self._checks[name].good(now, self._patience) for name in self._needed & self._checks.keys()]
        # None yet: the loops that make the checks have not begun.
        return bool(needed) and all(needed) and not self._stopping, self._words(now)

    def _turn(self, name: str) -> _Check:
        self.expect(name)
        check = self._checks[name]
        check.turned = self._clock()
        return check

    def _words(self, now: float) -> dict[str, object]:
        words: dict[str, object] = {
            name: check.word(now, self._patience) for name, check in sorted(self._checks.items())
        }
        return {"stopping": "yes", **words} if self._stopping else words


@asynccontextmanager
async def serving(host: str, port: int, health: Health) -> AsyncIterator[int]:
    """Answers /livez, /readyz and /metrics for as long as the block lasts; one request a connection.

    Args:
        host: address to listen on.
        port: port to listen on; 0 picks a free one. The context is the port.
        health: what is answered from.

    Raises:
        Failure: `setting_invalid`: the port is taken, or the address is none of this machine.
    """
    free = asyncio.Semaphore(_CONNECTIONS)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection more than is expected is closed, not queued: nobody honest needs it.
        if free.locked():
            writer.close()
            return
        async with free:
            await _converse(reader, writer, health)

    try:
        server = await asyncio.start_server(converse, host, port, limit=_HEAD)
    except OSError as error:
        raise Failure("setting_invalid", f"SAFELIGHT_HEALTH_PORT: {host}:{port}: {_reason(error)}") from error
    async with server:
        port = server.sockets[0].getsockname()[1]
        _log.info("health.listening", host=host, port=port)
        yield port


def _reason(error: OSError) -> str:
    """What the system says, without asyncio's words before it."""
    return str(error.strerror or error).rpartition("): ")[2]


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, health: Health) -> None:
    # What the other side does wrong ends its connection and nothing else.
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        try:
            async with asyncio.timeout(_SECONDS):
                writer.write(_respond(await _read_head(reader), health))
                await writer.drain()
        finally:
            writer.close()
        async with asyncio.timeout(_SECONDS):
            await writer.wait_closed()


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None


def _respond(head: bytes | None, health: Health) -> bytes:
    if head is None:
        return _message(_Answer(431, _JSON, b""))
    words = head.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _message(_Answer(400, _JSON, b""))
    method, target = words[0], words[1].partition(b"?")[0].decode("latin-1")
    answer = _answer(target, health)
    if answer.status != 404 and method not in (b"GET", b"HEAD"):
        return _message(_Answer(405, _JSON, b"", "Allow: GET, HEAD\r\n"))
    return _message(answer, with_body=method != b"HEAD")


class _Answer(NamedTuple):
    status: int
    media_type: str
    body: bytes
    header: str = ""


def _answer(target: str, health: Health) -> _Answer:
    if target == "/metrics":
        return _Answer(200, *metrics.render())
    if target not in ("/livez", "/readyz"):
        return _Answer(404, _JSON, b"")
    good, words = health.live() if target == "/livez" else health.ready()
    return _Answer(200 if good else 503, _JSON, msgspec.json.encode(words))


def _message(answer: _Answer, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: {answer.media_type}\r\nContent-Length: {len(answer.body)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n{answer.header}\r\n"
    )
    return head.encode() + (answer.body if with_body else b"")
