"""SIGTERM: claim nothing more, let what runs finish within the grace time, hand the rest back.

A second signal hurries. Nothing is lost either way: what is handed back runs again at once, and its
attempt is not counted.
"""

import asyncio
import signal

import structlog

from safelight_processor.claims import Claims
from safelight_processor.leases import Leases

_log = structlog.get_logger()


class Drain:
    """Listens for the signals and empties the process."""

    def __init__(self, claims: Claims, leases: Leases, seconds: float) -> None:
        self._claims = claims
        self._leases = leases
        self._seconds = seconds
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()

    def listen(self) -> None:
        """From now on SIGTERM and SIGINT drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signal)

    def _signal(self) -> None:
        (self._hurry if self._asked.is_set() else self._asked).set()

    async def run(self) -> None:
        """Returns when the process is empty after it was asked to stop."""
        await self._asked.wait()
        _log.info("drain.started", running=len(self._leases), seconds=self._seconds)
        self._claims.stop()
        # A claim may be on its way; what it brings is ours to finish or hand back.
        await self._claims.finished.wait()
        try:
            async with asyncio.timeout(self._seconds):
                await self._empty_or_hurry()
        except TimeoutError:
            pass
        if len(self._leases):
            _log.info("drain.releases", running=len(self._leases))
            self._leases.interrupt_all("drain")
        await self._leases.empty.wait()
        # The answer to one of the last claims was lost: what it took is handed back like the rest.
        await self._claims.strays.settled.wait()
        _log.info("drain.done")

    async def _empty_or_hurry(self) -> None:
        empty = asyncio.ensure_future(self._leases.empty.wait())
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({empty, hurry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            empty.cancel()
            hurry.cancel()
