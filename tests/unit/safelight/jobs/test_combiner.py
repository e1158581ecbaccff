"""Calls that wait share a statement; what is wrong with one of them is nobody else's matter."""

import asyncio

import pytest

from safelight.errors import Failure
from safelight.jobs.combiner import Combiner


class Statement:
    """Stands for the database: keeps the batches, answers when it is let."""

    def __init__(self):
        self.batches = []
        self.free = asyncio.Event()
        self.poison = set()

    async def __call__(self, asks):
        self.batches.append(list(asks))
        await self.free.wait()
        if self.poison & set(asks):
            raise Failure("bad_request")
        return [f"answer to {ask}" for ask in asks]


def keys(ask):
    return [ask]


async def begun(statement, batches=1):
    """Waits until so many statements have begun."""
    while len(statement.batches) < batches:
        await asyncio.sleep(0)


async def test_a_lone_call_goes_at_once():
    statement = Statement()
    statement.free.set()

    assert await Combiner(statement, keys).ask("a") == "answer to a"


async def test_calls_that_come_while_a_statement_is_under_way_share_the_next_one():
    statement = Statement()
    combiner = Combiner(statement, keys)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(combiner.ask("a"))]
        await begun(statement)
        tasks += [group.create_task(combiner.ask(ask)) for ask in "bcd"]
        await asyncio.sleep(0)
        statement.free.set()

    assert statement.batches == [["a"], ["b", "c", "d"]]
    assert [task.result() for task in tasks] == [f"answer to {ask}" for ask in "abcd"]


async def test_a_batch_has_a_bound():
    statement = Statement()
    combiner = Combiner(statement, keys, most=2)
    statement.free.set()

    await asyncio.gather(*(combiner.ask(ask) for ask in "abcde"))

    assert [len(batch) for batch in statement.batches] == [2, 2, 1]


async def test_two_calls_with_one_key_go_one_after_the_other():
    statement = Statement()
    combiner = Combiner(statement, lambda ask: [ask[0]])
    statement.free.set()

    await asyncio.gather(*(combiner.ask(ask) for ask in ("a1", "a2", "b1", "a3")))

    assert statement.batches == [["a1", "b1"], ["a2"], ["a3"]]


async def test_one_bad_call_fails_alone():
    statement = Statement()
    statement.poison = {"b"}
    statement.free.set()
    combiner = Combiner(statement, keys)

    answers = await asyncio.gather(*(combiner.ask(ask) for ask in "abc"), return_exceptions=True)

    assert [answers[0], answers[2]] == ["answer to a", "answer to c"]
    assert isinstance(answers[1], Failure)


async def test_an_outage_is_told_to_everybody_at_once_and_the_next_call_is_tried():
    failures = [Failure("unavailable")]

    async def statement(asks):
        if failures:
            raise failures.pop()
        return asks

    combiner = Combiner(statement, keys)
    answers = await asyncio.gather(*(combiner.ask(ask) for ask in "ab"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [Failure, Failure]
    assert await combiner.ask("c") == "c"


async def test_a_bug_is_told_to_those_who_asked_and_the_next_call_is_tried():
    wrong = [["one answer too few"]]

    async def statement(asks):
        return wrong.pop() if wrong else asks

    combiner = Combiner(statement, keys)
    answers = await asyncio.gather(*(combiner.ask(ask) for ask in "ab"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]
    assert await combiner.ask("c") == "c"


async def test_a_call_without_a_key_fails_alone_and_at_once():
    statement = Statement()
    statement.free.set()
    combiner = Combiner(statement, lambda ask: [[]] if ask == "b" else [ask])

    answers = await asyncio.gather(*(combiner.ask(ask) for ask in "abc"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [str, TypeError, str]


async def test_when_the_worker_is_ended_nobody_waits_for_ever():
    statement = Statement()
    combiner = Combiner(statement, keys)
    asking = [asyncio.create_task(combiner.ask("a"))]
    await begun(statement)
    asking += [asyncio.create_task(combiner.ask(ask)) for ask in "bc"]
    await asyncio.sleep(0)
    combiner._worker.cancel()

    async with asyncio.timeout(10):
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 3
    statement.free.set()
    assert await combiner.ask("d") == "answer to d"


async def test_a_caller_that_gives_up_costs_the_others_nothing():
    statement = Statement()
    combiner = Combiner(statement, keys)
    first = asyncio.create_task(combiner.ask("a"))
    await begun(statement)
    waiting = asyncio.create_task(combiner.ask("b"))
    await asyncio.sleep(0)
    first.cancel()
    waiting.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    statement.free.set()

    with pytest.raises(asyncio.CancelledError):
        await first
    assert await combiner.ask("c") == "answer to c"
    assert statement.batches == [["a"], ["c"]]
