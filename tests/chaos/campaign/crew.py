"""Worker processes under a supervisor, which starts anew whatever ends.

`campaign` has it for the whole time; `faults` kill and freeze its members. A worker that ends without
having been killed is a bug of the worker, and is kept in `died`.
"""

import asyncio
import itertools
import signal
import sys
from pathlib import Path
from typing import Any

from support.ports import free_port
from support.processes import Process, environment

Settings = dict[str, Any]

_LONG = 3600.0  # seconds, longer than any campaign
_PATIENCE = 60.0  # for a drain
_BACK_OFF = 1.0  # until one that ended by itself is started anew


class Crew:
    """So many workers; `settings` are theirs, `last` are other settings of the last of them."""

    def __init__(self, size: int, ledger: Path, settings: Settings, last: Settings) -> None:
        self.died: list[str] = []
        self.restarts = 0
        self._ledger = ledger
        self._settings = [settings] * (size - 1) + [settings | last]
        self._over = False
        self._turns = itertools.cycle(range(size))
        self._members = [self._start(number) for number in range(size)]

    async def until_ready(self) -> None:
        """All of them claim."""
        await asyncio.gather(*(member.until_ready() for member in self._members))

    def next(self) -> Process:
        """A member; each in its turn."""
        return self._members[next(self._turns)]

    async def supervise(self) -> None:
        """Until `stop`."""
        await asyncio.gather(*(self._keep(number) for number in range(len(self._members))))

    async def stop(self, *others: Process) -> None:
        """All of them drain and end, and `others` with them."""
        await self.until_ready()  # one that has just been started does not know yet how to drain
        self._over = True
        everybody = [*self._members, *others]
        for one in everybody:
            one.sigterm()
        await asyncio.gather(*(self._left(one, _PATIENCE) for one in everybody))

    def kill(self) -> None:
        """Ends what is left, in no order."""
        self._over = True
        for member in self._members:
            member.kill()

    def _start(self, number: int) -> Process:
        settings, port = dict(self._settings[number]), free_port()
        addresses = [str(settings.pop(name)) for name in ("database_url", "redis_url")]
        env = environment(*addresses, health_port=port, **settings)
        argv = [sys.executable, "-m", "chaos.campaign.worker", str(self._ledger)]
        return Process("worker", argv, env, port)

    async def _keep(self, number: int) -> None:
        while not self._over:
            if not await self._left(self._members[number]):
                await asyncio.sleep(_BACK_OFF)
            if not self._over:
                self.restarts += 1
                self._members[number] = self._start(number)

    async def _left(self, member: Process, seconds: float = _LONG) -> bool:
        """Waits for its end; whether that was to be expected."""
        code = await member.wait(seconds)
        if code == -signal.SIGKILL or (code == 0 and self._over):
            return True
        self.died.append(f"{member.name} {member.pid} ended with {code}:\n{member.logs()[-3000:]}")
        return False
