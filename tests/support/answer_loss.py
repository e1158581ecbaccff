"""A TCP proxy in front of Postgres that loses answers: the server commits, and its client never hears of it.

async with answer_loss_proxy(postgres.port) as proxy:
    ... f"postgresql://postgres@127.0.0.1:{proxy.port}/..."
    proxy.lose(b"enqueue(")      the next statement with this in it is executed, then its connection breaks

Statements have names, so it reads as much of the protocol as tells which is executed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from support.ports import free_port

_PIECE = 64 * 1024
_STARTUP = 196608  # the version of the protocol, in the message that begins a session
_READY = b"Z\0\0\0\5"  # what ends an answer; one byte follows
_HEAD = 5  # a letter, and the length of what follows with itself


class Requests:
    """What a client says, piece by piece -> the texts of the statements that it has executed."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._texts: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> list[bytes]:
        """The statements whose execution is asked for in what has come whole by now."""
        self._rest += data
        found = []
        while message := self._next():
            letter, body = message
            if letter == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._texts[name] = text
            elif letter == b"B":
                _, name, _ = body.split(b"\0", 2)
                found.append(self._texts.get(name, b""))
            elif letter == b"Q":
                found.append(body)
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        letters = 1 if self._begun else 0  # those that begin a session have none
        if len(self._rest) < letters + 4:
            return None
        size = letters + int.from_bytes(self._rest[letters : letters + 4])
        if len(self._rest) < size:
            return None
        message, self._rest = self._rest[:size], self._rest[size:]
        letter, body = message[:letters], message[letters + 4 :]
        self._begun = self._begun or int.from_bytes(body[:4]) == _STARTUP
        return letter, body


class AnswerLossProxy:
    """Made by `answer_loss_proxy`."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.lost = 0  # answers, ever
        self._target = target
        self._word: bytes | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def lose(self, word: bytes | None) -> None:
        """The answer to the next statement that has this word in it is lost; None: no more is."""
        self._word = word

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # cancelled by `close`
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """Breaks what is open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        requests, deaf = Requests(), asyncio.Event()

        async def ask() -> None:
            while data := await reader.read(_PIECE):
                if self._is_wanted(requests.feed(data)):
                    deaf.set()
                forth.write(data)
                await forth.drain()

        async def answer() -> None:
            said = b""
            while data := await back.read(_PIECE):
                if not deaf.is_set():
                    writer.write(data)
                    await writer.drain()
                    continue
                said = (said + data)[-len(_READY) - 1 :]
                if said.startswith(_READY):
                    self.lost += 1
                    writer.transport.abort()
                    return

        ways = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            with suppress(OSError):
                forth.close()

    def _is_wanted(self, statements: list[bytes]) -> bool:
        word = self._word
        if word is None or not any(word in statement for statement in statements):
            return False
        self._word = None
        return True


@asynccontextmanager
async def answer_loss_proxy(target: int) -> AsyncIterator[AnswerLossProxy]:
    """A proxy on a free port of 127.0.0.1 to the Postgres on port `target`."""
    proxy = AnswerLossProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", proxy.port)
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
