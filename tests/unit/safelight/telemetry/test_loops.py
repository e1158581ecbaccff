"""Supervised loops: they go on after an outage, and take everything with them when they die."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from safelight.errors import Failure
from safelight.telemetry.health import Health
from safelight.telemetry.loops import begin, supervise


class Turns:
    """A `run_once` that does what it is told, turn by turn; `nth` tells when a turn is reached."""

    def __init__(self, *outcomes: BaseException | None) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self._changed = asyncio.Condition()

    async def __call__(self) -> None:
        self.count += 1
        async with self._changed:
            self._changed.notify_all()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome

    async def nth(self, count: int) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: self.count >= count)


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_loop_turns_again_and_again_and_is_marked_fresh() -> None:
    health, turns = Health(needed=["work"]), Turns()
    assert not health.ready()[0]
    task = asyncio.create_task(supervise("work", turns, 0.001, health))
    await turns.nth(5)
    assert health.ready() == (True, {"work": "ok"})
    await stop(task)


@pytest.mark.parametrize("outage", [Failure("unavailable"), ConnectionResetError(), TimeoutError()])
async def test_an_outage_is_waited_out_and_shows_until_it_is_over(outage: Exception) -> None:
    health, turns = Health(), Turns(outage)
    task = asyncio.create_task(supervise("work", turns, 0.001, health))
    await turns.nth(1)
    assert health.live() == (True, {"work": "failing"})
    await turns.nth(3)
    assert health.live() == (True, {"work": "ok"})
    await stop(task)


async def test_failures_in_a_row_are_further_and_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("safelight.telemetry.loops.asyncio.sleep", noted)
    turns = Turns(*[Failure("unavailable")] * 8)
    task = asyncio.create_task(supervise("work", turns, lambda: 3.0, Health(), jitter=0.0))
    await turns.nth(9)
    await sleep(0)
    await stop(task)
    assert pauses[:9] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 3.0]


async def test_the_interval_is_asked_before_every_pause() -> None:
    asked, turns = 0, Turns()

    def interval() -> float:
        nonlocal asked
        asked += 1
        return 0.001

    task = asyncio.create_task(supervise("work", turns, interval, Health()))
    await turns.nth(4)
    await stop(task)
    assert asked >= 3


async def test_a_bug_ends_the_whole_task_group() -> None:
    sibling_ended = asyncio.Event()

    async def sibling() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            sibling_ended.set()

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sibling())
            tasks.create_task(supervise("work", Turns(None, KeyError("bug")), 0.001, Health()))

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(group(), 20)
    assert caught.group_contains(KeyError)
    assert sibling_ended.is_set()


@pytest.mark.parametrize("bug", [None, KeyError("bug")])
async def test_a_loop_that_ends_takes_its_group_along_however_it_ends(bug: Exception | None) -> None:
    died: list[str] = []

    async def short() -> None:
        if bug is not None:
            raise bug

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            begin(tasks, "idle", asyncio.Event().wait(), lambda task: died.append(task.get_name()))  # type: ignore[arg-type]
            begin(tasks, "short", short(), lambda task: died.append(task.get_name()))

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(group(), 20)
    assert caught.group_contains(type(bug) if bug else RuntimeError)
    assert died == ["short"]


@pytest.mark.parametrize("swallow", [False, True])
async def test_a_canceled_loop_ends_even_when_the_cancellation_was_swallowed(swallow: bool) -> None:
    begun = asyncio.Event()

    async def deaf() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not swallow:
                raise

    work: Callable[[], Awaitable[None]] = deaf
    task = asyncio.create_task(supervise("work", work, 0.001, Health()))
    await begun.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=20)
    assert task.done()
