"""Calls that wait share the next statement: one commit for all of them.

`queue` uses it for `enqueue`. A lone call goes at once; while its statement is under way others gather and
go together in the next one. So nobody waits longer than one statement, and the busier it gets, the larger
are the batches. A batch that the database cannot take is tried again call by call: one bad ask fails alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from safelight.errors import Failure

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Ask, Answer]):
    """An ask, what no other of its batch may share with it, and where its answer is put."""

    ask: Ask
    keys: frozenset[Hashable]
    answer: "asyncio.Future[Answer]"


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
        self._waiting: list[Waiting[Ask, Answer]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, ask: Ask) -> Answer:
        """The answer to one ask, when its batch is through.

        Raises:
            Failure: what `run` raised for it.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(ask, frozenset(self._keys(ask)), answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        """Until nobody waits. What goes wrong is told to those who asked: none of them waits for ever."""
        try:
            while self._waiting:
                if batch := self._next():
                    await self._answer(batch)
        finally:
            self._worker = None
            for one in self._waiting:  # somebody has ended the worker
                one.answer.cancel()

    def _next(self) -> "list[Waiting[Ask, Answer]]":
        """The oldest asks that can go together; whoever has given up is left out."""
        batch: list[Waiting[Ask, Answer]] = []
        later: list[Waiting[Ask, Answer]] = []
        taken: set[Hashable] = set()
        for one in self._waiting:
            if one.answer.done():
                continue
            free = len(batch) < self._most and taken.isdisjoint(one.keys)
            (batch if free else later).append(one)
            taken |= one.keys
        self._waiting = later
        return batch

    async def _answer(self, batch: "list[Waiting[Ask, Answer]]") -> None:
        try:
            answers = await self._run([one.ask for one in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} asks")
        except Exception as error:
            if len(batch) > 1 and isinstance(error, Failure) and error.code == "bad_request":
                for one in batch:
                    await self._answer([one])
                return
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
        except BaseException:
            for one in batch:
                one.answer.cancel()
            raise
        else:
            for one, found in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(found)
