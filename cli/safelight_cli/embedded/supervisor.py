"""Looks after the parts: starts them in order, restarts what dies, stops all in the opposite order.

Called by `up`. One task per part (`_keep`) starts its process, waits until it is ready, waits for its
end, and starts again, a little later each time. A part that keeps dying takes the service down: a
person has to look. If the supervisor itself is killed, the kernel tells every part (see `part`).
"""

import asyncio
import os
import signal
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from safelight_cli.embedded.log import Log
from safelight_cli.embedded.part import CannotStartError, Part

DEATHS = 5  # within `DEATHS_SECONDS`: more than bad luck
DEATHS_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds before a restart; doubles each time
_READY_POLL = 0.05
_HURRIED_PATIENCE = 3.0


class ServiceDownError(Exception):
    """A part keeps dying; the message says which, and its last words."""


class _Kept:
    """A part and what is known of it."""

    def __init__(self, part: Part, log: Log) -> None:
        self.part = part
        self.log = log
        self.process: Process | None = None
        self.ready = asyncio.Event()
        self.deaths: deque[float] = deque(maxlen=DEATHS)
        self.task: asyncio.Task[None] | None = None
        self.stopping = False
        self.complaint = ""

    def deaths_lately(self) -> int:
        return sum(time.monotonic() - death < DEATHS_SECONDS for death in self.deaths)


class Supervisor:
    """Use it as a context: leaving stops every part. `say(part, text)` is for a person to read."""

    def __init__(self, logs: Path, say: Callable[[str, str], None]) -> None:
        self._logs = logs
        self._say = say
        self._kept: list[_Kept] = []
        self._hurry = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kept in reversed(self._kept):
            await self._stop(kept)

    async def start(self, part: Part) -> None:
        """Starts a part and keeps it running from now on; answers when it is ready.

        Raises:
            CannotStartError: it died, or was not ready in time; the sentence holds its last words.
        """
        kept = _Kept(part, Log(self._logs / f"{part.name}.log"))
        self._kept.append(kept)
        began = time.monotonic()
        kept.task = asyncio.create_task(self._keep(kept), name=part.name)
        ready = asyncio.create_task(kept.ready.wait())
        try:
            await asyncio.wait({ready, kept.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if kept.task.done():
            await kept.task  # raises what went wrong
        self._say(part.name, f"ready in {time.monotonic() - began:.1f} s")

    async def watch(self) -> None:
        """Waits for ever, while every part is kept running.

        Raises:
            ServiceDownError: a part died too often.
        """
        tasks = {kept.task for kept in self._kept if kept.task}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    def hurry(self) -> None:
        """Whatever is being stopped is asked once more, and killed soon after."""
        self._hurry.set()

    async def _keep(self, kept: _Kept) -> None:
        while True:
            born = time.monotonic()
            ended = await self._live(kept)
            if kept.stopping:
                return
            if not kept.ready.is_set():
                raise CannotStartError(
                    f"{kept.part.name} {ended} while starting: {kept.log.last_words()} (see {kept.log.path})"
                )
            kept.deaths.append(time.monotonic())
            if kept.deaths_lately() >= DEATHS:
                raise ServiceDownError(
                    f"{kept.part.name} died {DEATHS} times within a minute: {kept.log.last_words()} "
                    f"(see {kept.log.path})"
                )
            if time.monotonic() - born > DEATHS_SECONDS:
                kept.deaths.clear()
            pause = min(_FIRST_PAUSE * 2 ** len(kept.deaths), _LONGEST_PAUSE)
            self._say(kept.part.name, f"{ended}; it starts again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _live(self, kept: _Kept) -> str:
        """One process from its start to its end; answers how it ended."""
        part = kept.part
        await asyncio.to_thread(part.before)
        process, reading = await self._spawn(kept)
        kept.process = process
        getting_ready = asyncio.create_task(self._until_ready(kept, process))
        try:
            await process.wait()
        finally:
            getting_ready.cancel()
            with suppress(asyncio.CancelledError):
                await getting_ready
            # What it started goes with it; then nobody holds the pipe, and reading comes to its end.
            _kill(process)
            await asyncio.wait({reading}, timeout=5)
            reading.cancel()
        if getting_ready.cancelled():
            return _how(process.returncode)
        return getting_ready.result() or _how(process.returncode)

    async def _until_ready(self, kept: _Kept, process: Process) -> str | None:
        """Waits until the part is ready; kills it, and says why, when that takes too long."""
        give_up = time.monotonic() + kept.part.ready_within
        while not await asyncio.to_thread(kept.part.ready):
            if time.monotonic() > give_up:
                _kill(process)
                return f"was not ready within {kept.part.ready_within:g} s"
            await asyncio.sleep(_READY_POLL)
        if kept.deaths and process.returncode is None:
            self._say(kept.part.name, "ready again")
        kept.ready.set()
        return None

    async def _spawn(self, kept: _Kept) -> tuple[Process, asyncio.Task[None]]:
        """The process, and the task that reads what it says."""
        # A pipe of our own: asyncio would not see the end of a process whose children still hold its pipe.
        reading_end, writing_end = os.pipe()
        with os.fdopen(writing_end, "wb") as output:
            said = os.fdopen(reading_end, "rb", buffering=0)
            reader = asyncio.StreamReader()
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), said
            )
            try:
                # Not in a thread: the kernel watches the thread that starts a process (see `part`).
                process = await asyncio.create_subprocess_exec(
                    *kept.part.argv, stdout=output, stderr=output, **kept.part.options()
                )
            except BaseException:
                pipe.close()
                raise
        return process, asyncio.create_task(self._read(kept, reader, pipe))

    async def _read(self, kept: _Kept, reader: asyncio.StreamReader, pipe: asyncio.ReadTransport) -> None:
        try:
            while data := await reader.read(64 * 1024):
                for text in kept.log.write(data):
                    if text != kept.complaint:  # once is enough; the file has them all
                        self._say(kept.part.name, text)
                    kept.complaint = text
        finally:
            pipe.close()

    async def _stop(self, kept: _Kept) -> None:
        kept.stopping = True
        process = kept.process
        if process and process.returncode is None:
            process.send_signal(kept.part.stop_signal)
            if not await self._ends(process, kept.part.patience) and self._hurry.is_set():
                # A second time means: now. A processor hands its jobs back, where a kill would lose a lease.
                process.send_signal(kept.part.stop_signal)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _HURRIED_PATIENCE)
            _kill(process)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _HURRIED_PATIENCE)
        if kept.task:
            # It ends by itself, when it has seen the end of the process; unless there was none.
            await asyncio.wait({kept.task}, timeout=_HURRIED_PATIENCE if process else 0)
            kept.task.cancel()
            await asyncio.gather(kept.task, return_exceptions=True)

    async def _ends(self, process: Process, patience: float) -> bool:
        """Whether the process ends before its patience is over or somebody hurries."""
        ended, hurried = asyncio.create_task(process.wait()), asyncio.create_task(self._hurry.wait())
        await asyncio.wait({ended, hurried}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            ended.cancel()
        return ended.done()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
