"""One module a queue, ours and the rivals', each run as its own documentation says it should be for speed.

Every module has the same three functions, so that areas/queue.py and programs/queue_*.py know no queue:

    prepare(place)    makes its tables
    producer(place)   a context with what puts jobs in: one durable call a job, and the bulk call
    work(shift)       a worker, until `shift.over`
"""

import asyncio
import importlib
import mmap
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

CONNECTIONS = 16  # of every producer's pool
SLOTS = 250  # jobs at once, of workers that fetch or record many with one statement
ONE_BY_ONE = 100  # of the others, which more make slower
BULK = 1000  # jobs of one bulk call

POSTGRES = (
    "pgqueuer",
    "procrastinate",
    "awa",
    "chancy",
    "saq_postgres",
    *(["oban"] if sys.version_info >= (3, 12) else []),  # it needs that
)
REDIS = ("saq_redis", "taskiq", "dramatiq")
FEW = ("pgqueuer", "procrastinate")  # where there is time for few


class Place(NamedTuple):
    """A database and a Redis that nobody else uses now."""

    dsn: str
    redis_url: str


class Producer(NamedTuple):
    """`put` is one job, which carries the text; `put_many` is so many, by whatever is quickest."""

    put: Callable[[str | None], Awaitable[object]]
    put_many: Callable[[int], Awaitable[object]]


class Queue(Protocol):
    """What the modules have in common."""

    async def prepare(self, place: Place) -> None: ...
    def producer(self, place: Place) -> AbstractAsyncContextManager[Producer]: ...
    async def work(self, shift: "Shift") -> None: ...


def load(kind: str) -> Queue:
    """The module of a queue."""
    found: Any = importlib.import_module(f"queues.{kind}")
    return found


@dataclass
class Shift:
    """What a worker is asked for, and what it tells: each start and each end of a job.

    Ends (when serving: starts of jobs that carry a time) are counted in a file that whoever measures reads:
    from there comes the end of the shift.
    """

    place: Place
    serving: bool  # jobs come one by one and carry the time of their call; else the queue was filled before
    counter: Path
    number: int  # of this worker: its place in the file
    options: dict[str, Any] = field(default_factory=dict)  # for ours alone
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        with self.counter.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._done = 0
        self.first = self.last = 0.0
        self.used = 0.0  # CPU seconds before the first job
        self.waited: list[float] = []  # ms from the call to the start

    def ready(self) -> None:
        """Jobs may come."""
        print("ready", flush=True)

    async def wait(self) -> None:
        """Until it is over, for a worker that says nowhere that it listens."""
        if self.serving:
            await asyncio.sleep(1.0)
            self.ready()
        await self.over.wait()

    def began(self, payload: str | None = None) -> None:
        """A handler has begun; `payload` is the time of the call that enqueued its job, in ns."""
        if not self.first:
            self.first, self.used = time.monotonic(), time.process_time()
        if payload:
            self.waited.append((time.monotonic_ns() - int(payload)) / 1e6)
            self._count(len(self.waited))

    def ended(self) -> None:
        """A job is over."""
        self._done += 1
        self.last = time.monotonic()
        if not self.serving:
            self._count(self._done)

    def _count(self, number: int) -> None:
        struct.pack_into("q", self._map, 8 * self.number, number)

    def told(self) -> dict[str, Any]:
        """The result."""
        return {
            "jobs": self._done,
            "first": self.first,
            "last": self.last,
            "cpu": time.process_time() - self.used,
            "waited": self.waited,
        }

    def listen(self) -> None:
        """`over` comes when whoever started this closes its standard input."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(self.over.set)

        threading.Thread(target=read, daemon=True).start()
