"""One child, from the parent's side: start it, run a task in it, kill it.

`children.py` keeps a pool of these. Nothing here trusts the child: what it says is decoded within bounds
(protocol.py), what it wrote is looked at again (outputs.py), how long it may take is measured here, and it
goes down with everything that it has started (tree.py). Nothing here blocks the event loop, and each wait
has a limit.
"""

import asyncio
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from safelight.errors import Failure
from safelight_processor.child import ending, outputs, tree
from safelight_processor.child.ending import Crashed, Ending, TimedOut
from safelight_processor.child.process import Launch, StartError, Tail, execute, watch
from safelight_processor.child.protocol import (
    HEADER_BYTES,
    Failed,
    Finished,
    FromChild,
    Progress,
    ProtocolError,
    Ready,
    Task,
    body_length,
    decode_from_child,
    encode,
)

# What is left of a dead child's words is waited for this long, and no longer: a process that has escaped
# may still hold the other end.
LAST_WORDS_SECONDS: Final = 0.3
# SIGKILL takes effect at once, but for a process that hangs in a driver or a network file system.
REAP_SECONDS: Final = 5.0
# An honest child sends 20 reports a second.
PROGRESS_BURST: Final = 100
PROGRESS_PER_SECOND: Final = 40
# Growth over what it had when it was ready, after which a child is replaced.
GROWN_BYTES: Final = 256 * 1024 * 1024


class ChannelClosedError(Exception):
    """The child has closed its end, most often by dying."""


class Child:
    """A running child. `exited` is done, with its return code, when it is dead and reaped."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stderr: Tail,
    ) -> None:
        self.pid = process.pid
        self.tasks = 0
        self.worn = False
        self.exited = watch(process)
        self._reader = reader
        self._writer = writer
        self._stderr = stderr
        self._bytes_when_ready = 0

    @classmethod
    async def spawn(cls, launch: Launch) -> Self:
        """Execute a child; `ready` is what comes next.

        Raises:
            StartError: it cannot be executed.
        """
        ours, theirs = socket.socketpair()
        stderr, their_stderr = socket.socketpair()
        opened: list[asyncio.BaseTransport] = []
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            opened.append(writer.transport)
            loop = asyncio.get_running_loop()
            transport, tail = await loop.create_unix_connection(Tail, sock=stderr)
            opened.append(transport)
            child = cls(execute(launch, theirs, their_stderr), reader, writer, tail)
        except BaseException:
            for opened_transport in opened:
                opened_transport.close()
            ours.close()
            stderr.close()
            raise
        finally:
            theirs.close()
            their_stderr.close()
        child.exited.add_done_callback(lambda _: _close_later(writer.transport, transport))
        return child

    async def ready(self, within: float) -> Ready:
        """Wait until it is warm; what it has.

        Raises:
            StartError: it died, or was not ready within so many seconds. It is dead and reaped then, and
                also when the caller is cancelled.
        """
        try:
            async with asyncio.timeout(within):
                message = await self._receive()
            if not isinstance(message, Ready):
                raise ProtocolError(f"says {type(message).__name__} and not Ready")
        except BaseException as error:
            await self.kill()
            await self._stderr.wait(LAST_WORDS_SECONDS)
            if isinstance(error, TimeoutError | ChannelClosedError | ProtocolError):
                raise StartError(self._why_not_ready(error, within)) from error
            raise
        self._bytes_when_ready = self._resident_bytes()
        return message

    @property
    def alive(self) -> bool:
        """Whether it has not died yet."""
        return not self.exited.done()

    async def run(self, task: Task, deadline: float, on_progress: Callable[[Progress], None]) -> Ending:
        """Run one task within `deadline` seconds.

        After any ending but `Finished` and `Failed` the child is dead and reaped. So it is when the caller
        is cancelled, and when `on_progress` raises: both go on only then.
        """
        self.tasks += 1
        self._stderr.clear()
        try:
            async with asyncio.timeout(deadline) as clock:
                said = await self._converse(task, on_progress)
        except TimeoutError:
            await self.kill()
            if not clock.expired():  # a TimeoutError of `on_progress`
                raise
            return TimedOut(deadline)
        except ProtocolError as error:
            await self.kill()
            return Crashed("protocol", str(error), self._stderr.text())
        except ChannelClosedError:
            return await self._post_mortem(task)
        except BaseException:
            await self.kill()
            raise
        self.worn = self.worn or said.worn or self._has_grown()
        return self._checked(said, task)

    async def kill(self) -> None:
        """Kill it and everything that it has started, and reap it; no cancellation stops this half-way."""
        if self.alive:
            tree.kill_tree(self.pid)
        reaping = asyncio.ensure_future(asyncio.wait({self.exited}, timeout=REAP_SECONDS))
        canceled = False
        while not reaping.done():
            try:
                await asyncio.shield(reaping)
            except asyncio.CancelledError:
                canceled = True
        self._writer.transport.abort()
        if canceled:
            raise asyncio.CancelledError

    async def _converse(self, task: Task, on_progress: Callable[[Progress], None]) -> Finished | Failed:
        with suppress(ConnectionError):  # that it is dead shows below, and how
            self._writer.write(encode(task))
            await self._writer.drain()
        started, reports = time.monotonic(), 0
        while True:
            message = await self._receive()
            match message:
                case Finished() | Failed():
                    return message
                case Progress():
                    reports += 1
                    if reports > PROGRESS_BURST + PROGRESS_PER_SECOND * (time.monotonic() - started):
                        raise ProtocolError("too many progress reports")
                    on_progress(message)
                case Ready():
                    raise ProtocolError("says Ready for the second time")

    async def _receive(self) -> FromChild:
        try:
            header = await self._reader.readexactly(HEADER_BYTES)
            body = await self._reader.readexactly(body_length(header))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ChannelClosedError from error
        return decode_from_child(body)

    def _checked(self, said: Finished | Failed, task: Task) -> Finished | Failed:
        if isinstance(said, Failed):
            return said
        try:
            return outputs.check(said, task)
        except Failure as failure:
            self.worn = True  # it broke a rule that our own code in it keeps
            return Failed(failure.code, failure.message, retryable=False)

    async def _post_mortem(self, task: Task) -> Ending:
        """The ending of a run whose child has closed the channel, by dying or without it."""
        await asyncio.wait({self.exited}, timeout=LAST_WORDS_SECONDS)
        if self.alive:
            await self.kill()
            return Crashed("protocol", "closed the channel", self._stderr.text())
        self._writer.transport.abort()
        await self._stderr.wait(LAST_WORDS_SECONDS)
        return ending.of_dead_child(self.exited.result(), self._stderr.text(), task.limits)

    def _why_not_ready(self, error: Exception, within: float) -> str:
        reasons: dict[type[Exception], str] = {
            TimeoutError: f"was not ready within {within:g} s",
            ChannelClosedError: "died while it started",
        }
        return f"the child {reasons.get(type(error), str(error))}: {self._stderr.text()[-1000:].strip()}"

    def _has_grown(self) -> bool:
        return self._resident_bytes() > self._bytes_when_ready + GROWN_BYTES

    def _resident_bytes(self) -> int:
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except OSError:  # dead, or no /proc
            return 0


def _close_later(channel: asyncio.WriteTransport, stderr: asyncio.Transport) -> None:
    # The group went down with the child, so both streams end by themselves, after what is still in them.
    # Something that has left the group may hold on to them: it is not waited for.
    loop = asyncio.get_running_loop()
    loop.call_later(LAST_WORDS_SECONDS, channel.abort)
    loop.call_later(LAST_WORDS_SECONDS, stderr.abort)
