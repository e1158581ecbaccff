"""The pool of warm children: one job each at a time, replaced when they die or have done their share.

`runs` calls `Children.run` for every job it has claimed, at most `size` at once. One background loop keeps
the pool full; `watch` ends when that loop does, so that its owner hears of it. What a single child is and
how it dies: child/parent.py. What the queue is told in the end: outcome.py.
"""

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from safelight_processor.child.ending import Crashed, Ending, TimedOut
from safelight_processor.child.parent import Child
from safelight_processor.child.process import Launch, StartError
from safelight_processor.child.protocol import Declaration, Failed, Finished, Progress, Ready, Task

__all__ = ["Children", "Counts", "Crashed", "Ending", "Failed", "Finished", "NoChildError", "TimedOut"]

_log = structlog.get_logger()

BROKEN_AFTER: Final = 5  # starts that fail in a row
BACK_OFF_SECONDS: Final = 0.1
LONGEST_BACK_OFF_SECONDS: Final = 10.0


class NoChildError(Exception):
    """No child could run the task, for a reason that is not the task's: it is to be handed back."""


class Counts(Struct, frozen=True):
    """For the metrics. `crashes` by reason: those of `Crashed`, `timeout`, `canceled`, and `idle`."""

    size: int
    alive: int
    idle: int
    started: int
    failed_starts: int
    recycled: int
    crashes: dict[str, int]


class Children:
    """A pool of `size` warm children.

    `broken` is set while children cannot be started (five times in a row); the pool goes on trying, and
    clears it when one starts.
    """

    def __init__(
        self,
        size: int,
        *,
        recycle_after: int = 100,
        scratch: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        start_seconds: float = 30.0,
        wait_seconds: float = 60.0,
    ) -> None:
        """Prepare a pool; `start` starts it.

        Args:
            size: children that are kept warm; while one replaces another there is one more.
            recycle_after: tasks after which a child is replaced.
            scratch: the working folder of idle children.
            environ: the parent's environment. A child gets PATH and SAFELIGHT_PIPELINE_MODULES of it, and,
                where that is set, looks for modules in the folders of PYTHONPATH.
            start_seconds: how long a child may take until it is ready.
            wait_seconds: how long `run` waits for a child to become free.
        """
        self.size = size
        self.broken = asyncio.Event()
        self._recycle_after = recycle_after
        self._launch = Launch.of(environ, str(scratch or tempfile.gettempdir()))
        self._start_seconds = start_seconds
        self._wait_seconds = wait_seconds
        self._all: set[Child] = set()
        self._idle: list[Child] = []  # the next one is taken from the end
        self._leaving: list[Child] = []
        self._changed = asyncio.Event()  # for those who wait for a child
        self._wake = asyncio.Event()  # for the keeper
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False
        self._ready: Ready | None = None
        self._why = ""
        self._started = self._failed_starts = self._failed_in_a_row = self._recycled = 0
        self._crashes: Counter[str] = Counter()

    async def start(self) -> None:
        """Start the pool; back when the first child is ready, while the others still start.

        Raises:
            NoChildError: no child can be started, and why.
        """
        self._keeper = asyncio.create_task(self._keep(), name="children")
        self._keeper.add_done_callback(self._keeper_ended)
        self._wake.set()
        while self._ready is None and not self.broken.is_set():
            await self._change(self._start_seconds * BROKEN_AFTER)
        if self._ready is None:
            raise NoChildError(self._why)

    async def watch(self) -> None:
        """Wait until the pool is closed.

        Raises:
            Exception: what ended the loop that keeps the pool full. The pool is then of no use.
        """
        if self._keeper is not None:
            await asyncio.wait({self._keeper})
            if not self._keeper.cancelled():
                self._keeper.result()

    async def close(self) -> None:
        """Kill all children and reap them. A `run` that is still waiting raises `NoChildError`."""
        self._closing = True
        self._changed.set()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await asyncio.gather(*(child.kill() for child in (*self._all, *self._leaving)))

    async def run(self, task: Task, deadline: float, on_progress: Callable[[Progress], None]) -> Ending:
        """Run a task in a child, for at most `deadline` seconds from when it has one.

        When the caller is cancelled, the child and all it has started are dead and reaped before the
        cancellation goes on; so too when `on_progress` raises.

        Raises:
            NoChildError: children cannot be started, none became free in time, or the pool is closing.
        """
        child = await self._take()
        try:
            ending = await child.run(task, deadline, on_progress)
        except asyncio.CancelledError:
            self._crashes["canceled"] += 1
            raise
        finally:
            self._give_back(child)
        if self._closing and isinstance(ending, Crashed):
            raise NoChildError("the pool is closing")
        if isinstance(ending, Crashed | TimedOut):
            self._crashes[ending.reason if isinstance(ending, Crashed) else "timeout"] += 1
        return ending

    def declarations(self) -> list[Declaration]:
        """The pipelines that the children have; empty before `start`."""
        return list(self._ready.pipelines) if self._ready else []

    @property
    def pillow(self) -> str:
        """Which Pillow the children have: `pillow 12.3.0`, `pillow-simd 12.1.1.post0`."""
        return self._ready.pillow if self._ready else ""

    @property
    def counts(self) -> Counts:
        """What the pool has and has seen."""
        return Counts(
            size=self.size,
            alive=len(self._all),
            idle=len(self._idle),
            started=self._started,
            failed_starts=self._failed_starts,
            recycled=self._recycled,
            crashes=dict(self._crashes),
        )

    async def _take(self) -> Child:
        give_up = asyncio.get_running_loop().time() + self._wait_seconds
        while not self._idle:
            if self._closing:
                raise NoChildError("the pool is closing")
            if self.broken.is_set():
                raise NoChildError(self._why)
            left = give_up - asyncio.get_running_loop().time()
            if left <= 0:
                raise NoChildError(f"no child became free within {self._wait_seconds:g} s")
            await self._change(left)
        return self._idle.pop()

    async def _change(self, seconds: float) -> None:
        """Wait until something is different, so long at most."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _give_back(self, child: Child) -> None:
        """After a task; a child that has died is forgotten by `_forget`."""
        if child.alive:
            # One that is only due stays until its replacement is there; one that is worn goes at once.
            if child.worn or (self._is_due(child) and len(self._all) > self.size):
                self._leave(child)
            elif self._is_due(child):
                self._idle.insert(0, child)  # the last to be taken
            else:
                self._idle.append(child)
        self._changed.set()
        self._wake.set()

    def _is_due(self, child: Child) -> bool:
        return child.tasks >= self._recycle_after

    def _leave(self, child: Child) -> None:
        self._recycled += 1
        self._all.discard(child)
        self._leaving.append(child)
        self._wake.set()

    def _forget(self, child: Child) -> None:
        """Called when a child has died, whatever the reason."""
        if child in self._idle:
            self._idle.remove(child)
            if not self._closing:
                self._crashes["idle"] += 1
                _log.warning("child.died_idle", pid=child.pid, code=child.exited.result())
        self._all.discard(child)
        self._wake.set()

    # The keeper: one loop, the only one that starts and retires children.

    async def _keep(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._keep_once()

    async def _keep_once(self) -> None:
        """Retire who leaves, start who is missing."""
        while self._leaving:
            await self._leaving[-1].kill()
            self._leaving.pop()
        if missing := self._missing():
            # Imports keep a core busy: more at once would only make each of them late.
            at_once = min(missing, os.cpu_count() or 1)
            async with asyncio.TaskGroup() as starting:
                for _ in range(at_once):
                    starting.create_task(self._start_one())
            self._wake.set()  # perhaps more are missing
            if self._failed_in_a_row:
                await asyncio.sleep(self._back_off())

    def _missing(self) -> int:
        fresh = sum(not self._is_due(child) for child in self._all)
        return max(0, min(self.size - fresh, self.size + 1 - len(self._all)))

    async def _start_one(self) -> None:
        try:
            child = await Child.spawn(self._launch)
            self._ready = await child.ready(self._start_seconds)
        except (StartError, OSError) as error:  # OSError: no descriptors left, for one
            self._start_failed(str(error))
            return
        self._started += 1
        self._failed_in_a_row = 0
        self.broken.clear()
        self._all.add(child)
        self._idle.append(child)
        child.exited.add_done_callback(lambda _: self._forget(child))
        self._retire_one_that_is_due()
        self._changed.set()

    def _retire_one_that_is_due(self) -> None:
        due = next((child for child in self._idle if self._is_due(child)), None)
        if due is not None and len(self._all) > self.size:
            self._idle.remove(due)
            self._leave(due)

    def _start_failed(self, why: str) -> None:
        self._failed_starts += 1
        self._failed_in_a_row += 1
        self._why = why
        _log.warning("child.not_started", why=why, in_a_row=self._failed_in_a_row)
        if self._failed_in_a_row >= BROKEN_AFTER:
            self.broken.set()
            self._changed.set()

    def _back_off(self) -> float:
        longest = min(LONGEST_BACK_OFF_SECONDS, BACK_OFF_SECONDS * 2.0**self._failed_in_a_row)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret

    def _keeper_ended(self, keeper: "asyncio.Task[None]") -> None:
        if keeper.cancelled():
            return
        self._why = f"the pool has failed: {keeper.exception()!r}"
        _log.error("children.failed", exc_info=keeper.exception())
        self.broken.set()
        self._changed.set()
