"""Worker processes under a supervisor, which starts anew whatever ends.

`campaign` has it for the whole time; `faults` kill and freeze its members. A worker that ends without
having been killed is a bug of the worker, and is kept in `died`.
"""

import asyncio
import itertools
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.ports import free_port
from support.processes import Process, environment

_LONG = 3600.0  # seconds, longer than any campaign
_PATIENCE = 60.0  # for a drain


class Crew:
    """So many workers, by number; `settings` are theirs."""

    def __init__(self, size: int, ledger: Path, settings: dict[str, object]) -> None:
        self.died: list[str] = []
        self.restarts = 0
        self._ledger = ledger
        self._settings = settings
        self._over = False
        self._turns = itertools.cycle(range(size))
        self._members = [self.worker() for _ in range(size)]

    def worker(self, **changes: object) -> Process:
        """One more process; its caller ends it."""
        settings = {**self._settings, **changes}
        port = free_port()
        env = environment(
            str(settings.pop("database_url")), str(settings.pop("redis_url")), health_port=port, **settings
        )
        argv = [sys.executable, "-m", "chaos.campaign.worker", str(self._ledger)]
        return Process("worker", argv, env, port)

    async def until_ready(self) -> None:
        """All of them claim."""
        await asyncio.gather(*(member.until_ready() for member in self._members))

    def next(self) -> Process:
        """A member; each in its turn."""
        return self._members[next(self._turns)]

    async def supervise(self) -> None:
        """Until `stop`."""
        await asyncio.gather(*(self._keep(number) for number in range(len(self._members))))

    async def stop(self) -> None:
        """All of them drain and end."""
        self._over = True
        for member in self._members:
            member.sigterm()
        await asyncio.gather(*(self._left(member, drained=True) for member in self._members))

    def kill(self) -> None:
        """Ends what is left, in no order."""
        self._over = True
        for member in self._members:
            member.kill()

    @asynccontextmanager
    async def another(self, **changes: object) -> AsyncIterator[Process]:
        """One more worker for a while; it drains at the end."""
        worker = self.worker(**changes)
        try:
            await worker.until_ready()
            yield worker
            worker.sigterm()
            await self._left(worker, drained=True)
        finally:
            worker.kill()

    async def _keep(self, number: int) -> None:
        while not self._over:
            await self._left(self._members[number])
            if not self._over:
                self.restarts += 1
                self._members[number] = self.worker()

    async def _left(self, member: Process, *, drained: bool = False) -> None:
        code = await member.wait(_PATIENCE if drained else _LONG)
        if code != -signal.SIGKILL and not (code == 0 and (drained or self._over)):
            self.died.append(f"worker {member.pid} ended with {code}:\n{member.logs()[-3000:]}")
