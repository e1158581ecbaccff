"""Calls that wait share the next statement: one commit for all of them.

`queue` uses it for `enqueue`. A lone call goes at once; while its statement is under way others gather and
go together in the next one. So nobody waits longer than one statement, and the busier it gets, the larger
are the batches. A batch that the database cannot take is tried again call by call: one bad ask fails alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from safelight.errors import Failure

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Combiner(Generic[Ask, Answer]):
    """Gathers asks for `run`, which answers a batch of them in their order."""

    def __init__(
        self,
        run: Callable[[Sequence[Ask]], Awaitable[Sequence[Answer]]],
        keys: Callable[[Ask], Sequence[Hashable]],
        *,
        most: int = 500,
    ) -> None:
        """`keys` of an ask are what no two asks of a batch may share; `most` asks make a batch."""
        self._run = run
        self._keys = keys
        self._most = most
        self._waiting: list[tuple[Ask, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, ask: Ask) -> Answer:
        """The answer to one ask, when its batch is through.

        Raises:
            Failure: what `run` raised for it.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        """Until nobody waits. What goes wrong is told to those who asked, so nothing is raised here."""
        try:
            while self._waiting:
                if batch := self._next():
                    await self._answer(batch)
        finally:
            self._worker = None

    def _next(self) -> list[tuple[Ask, "asyncio.Future[Answer]"]]:
        """The oldest asks that can go together; whoever has given up is left out."""
        batch: list[tuple[Ask, asyncio.Future[Answer]]] = []
        later: list[tuple[Ask, asyncio.Future[Answer]]] = []
        taken: set[Hashable] = set()
        for ask, answer in self._waiting:
            if answer.done():
                continue
            keys = self._keys(ask)
            if len(batch) >= self._most or not taken.isdisjoint(keys):
                later.append((ask, answer))
            else:
                batch.append((ask, answer))
            taken.update(keys)
        self._waiting = later
        return batch

    async def _answer(self, batch: list[tuple[Ask, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await self._run([ask for ask, _ in batch])
        except Exception as error:
            if len(batch) > 1 and isinstance(error, Failure) and error.code == "bad_request":
                for one in batch:
                    await self._answer([one])
                return
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), found in zip(batch, answers, strict=True):
            if not answer.done():
                answer.set_result(found)
