"""How an API process goes, so that nobody who watches notices: SIGTERM -> not ready -> goodbyes -> the end.

`worker` hands it the signals; `routes/live`, `routes/events` and the long-poll ask when it is their turn. The
order: readiness is off and new watchers are sent elsewhere; the load balancer gets time to notice; watchers
are told to come back, each at its own moment, as thousands that come back at once are a storm for who is
left; then Granian finishes what requests there are, and stops. A second signal cuts the goodbyes short.

Granian's own way is to cut every socket at once, without a word, before the application hears of the signal.
"""

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from safelight.config import Settings
from safelight.telemetry import metrics

_RATE = 500  # goodbyes a second
_PATIENCE = 5.0  # seconds after the last goodbye for those who are slow to hear it
_TWICE = 1.0  # seconds in which a second signal is the first one once more
_COME_BACK = 1000  # milliseconds over which they are asked to spread
_log = structlog.get_logger()


class Event(Protocol):
    """What Granian waits for."""

    def set(self) -> None:
        """It is time to stop."""


class Leave:
    """One process's going. `begun` is set when the first goodbye may be said."""

    def __init__(self, settings: Settings, connections: Callable[[], int]) -> None:
        self._settings = settings
        self._connections = connections
        self.leaving = False  # nobody new is to begin to watch here
        self.begun = asyncio.Event()
        self.notice: Callable[[], None] = lambda: None  # readiness off
        self._window = 0.0
        self._bells: set[Callable[[], None]] = set()
        self._going: asyncio.Task[None] | None = None

    async def turn(self) -> int:
        """Returns when this watcher is to go; answers in how many milliseconds it is to come back."""
        await self.begun.wait()
        await asyncio.sleep(random.uniform(0, self._window))  # noqa: S311
        return random.randrange(_COME_BACK)  # noqa: S311

    @contextmanager
    def rings(self, bell: Callable[[], None]) -> Iterator[None]:
        """For as long as the block lasts, whoever waits there is told when the goodbyes begin."""
        self._bells.add(bell)
        try:
            yield
        finally:
            self._bells.discard(bell)

    def listen(self, loop: asyncio.AbstractEventLoop, stop: Event) -> None:
        """From now on SIGTERM and SIGINT lead here, and from here to `stop`."""
        first = 0.0

        def heard() -> None:
            nonlocal first
            if self._going is not None:
                # Ctrl-C in a terminal reaches this process twice: by itself, and through its parent.
                if loop.time() - first > _TWICE:
                    stop.set()
                return
            first = loop.time()
            self._going = loop.create_task(self.go())
            self._going.add_done_callback(lambda _: stop.set())

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, heard)

    async def go(self) -> None:
        """The whole of it; when this returns nobody watches here any more, or was too slow."""
        self.leaving = True
        self.notice()
        await asyncio.sleep(self._settings.notice_seconds)
        watching = self._connections()
        self._window = min(self._settings.goodbye_seconds, watching / _RATE)
        self.begun.set()
        for bell in list(self._bells):
            bell()
        _log.info("api.leaving", watching=watching, seconds=round(self._window, 1))
        deadline = asyncio.get_running_loop().time() + self._window + _PATIENCE
        while self._connections() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  once
            await asyncio.sleep(0.02)
        if left := self._connections():
            metrics.live_cut_total.inc(left)
            _log.warning("live.cut", connections=left)
