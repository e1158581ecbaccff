"""A TCP proxy that can fail on purpose, in front of Postgres, Redis or an API pod.

async with fault_proxy(redis.port) as proxy:
    ... f"redis://127.0.0.1:{proxy.port}"
    proxy.cut()          connections break now (reset); new ones are welcome
    proxy.refuse()       and new ones are refused, until `heal`
    proxy.pause()        bytes wait, both ways: a stall and back-pressure, until `heal`
    proxy.blackhole()    bytes vanish, both ways: nobody is told, until `heal`
    proxy.forget()       bytes of the connections there are vanish, for ever; new ones are welcome
    proxy.delay = 0.05   seconds that every piece of data takes, each way
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.ports import free_port

_PIECE = 64 * 1024


class FaultProxy:
    """Made by `fault_proxy`."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        self.accepted = 0  # connections, ever
        self.passed = 0  # bytes, both ways
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._swallowing = False
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Breaks every open connection with a reset."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            with suppress(OSError):  # closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def refuse(self) -> None:
        """Breaks what is open and refuses what comes, as when nobody listens."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def pause(self) -> None:
        """Nothing moves, and nothing is lost."""
        self._open.clear()

    def blackhole(self) -> None:
        """What is sent from now on is lost; the connections stay open."""
        self._swallowing = True

    def forget(self) -> None:
        """The connections that are open now lead nowhere, as after a NAT has forgotten them."""
        self._forgotten |= self._writers

    async def heal(self) -> None:
        """Ends `refuse`, `pause` and `blackhole`; what is broken or forgotten stays so."""
        self._swallowing = False
        self._open.set()
        await self.listen()

    async def listen(self) -> None:
        """Begins to accept; `fault_proxy` calls it."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Ends everything; `fault_proxy` calls it."""
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a broken connection is what this is for; cancelled by `close`
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        pair = {writer, back}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back))
                group.create_task(self._carry(there, writer))
        except* OSError:
            pass
        finally:
            self._writers -= pair
            self._forgotten -= pair
            back.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PIECE):
            await asyncio.sleep(self.delay)
            await self._open.wait()
            if self._swallowing or writer in self._forgotten:
                continue
            self.passed += len(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@asynccontextmanager
async def fault_proxy(target: int) -> AsyncIterator[FaultProxy]:
    """A proxy on a free port of 127.0.0.1 to the port `target`; at first it lets everything through."""
    proxy = FaultProxy(target)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()
