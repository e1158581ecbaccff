"""One supervised loop: `run_once` again and again, its failures waited out, its freshness on record.

The one helper with which the API and the processor run everything that has to happen every so often.
Each loop is a task of its role's TaskGroup (`begin`), so one that dies takes the process with it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from safelight.errors import Failure
from safelight.telemetry.health import Health

_SHORTEST, _LONGEST = 0.2, 10.0  # seconds to wait after a failure, doubled from one to the other
_JITTER = 0.2
_log = structlog.get_logger()


async def supervise(
    name: str,
    run_once: Callable[[], Awaitable[object]],
    interval: float | Callable[[], float],
    health: Health,
    *,
    jitter: float = _JITTER,
) -> None:
    """Runs `run_once` for ever, `interval` seconds after it has ended.

    An outage (`Failure`, OSError, TimeoutError) is logged, noted in `health` and waited out. Anything else
    is a bug: it is raised, ends the TaskGroup, and with it the process, which is started anew.

    Args:
        name: of the loop, in logs, metrics and health.
        run_once: one turn.
        interval: seconds between two turns, or what tells them.
        health: where the loop's freshness is kept.
        jitter: the part of a pause that is left to chance, so that pods do not act in step.
    """
    health.expect(name)
    failures = 0
    task = asyncio.current_task()
    # A client's own time limit can swallow a cancellation; then it is seen here.
    while task is None or not task.cancelling():
        try:
            await run_once()
        except (Failure, OSError, TimeoutError) as error:
            failures += 1
            health.failed(name)
            pause = min(_SHORTEST * 2 ** min(failures - 1, 10), _LONGEST)
            # The first is news, and so is every tenth: an outage must not fill the log.
            log = _log.warning if failures % 10 == 1 else _log.debug
            cause = error.__cause__ and repr(error.__cause__)
            log("loop.failed", loop=name, failures=failures, error=repr(error), cause=cause)
        else:
            if failures:
                _log.info("loop.recovered", loop=name, failures=failures)
            failures = 0
            pause = interval() if callable(interval) else interval
            health.passed(name, pause)
        await asyncio.sleep(pause * random.uniform(1 - jitter, 1))  # noqa: S311


def begin(
    group: asyncio.TaskGroup,
    name: str,
    loop: Coroutine[object, object, None],
    died: Callable[["asyncio.Task[None]"], object],
) -> "asyncio.Task[None]":
    """Runs what never ends as a task of the group. When it does end, however that is, it takes the group
    along.

    `died` is told at once: a group waits for all the others before it says that one has failed.
    """
    task = group.create_task(_endless(name, loop), name=name)
    task.add_done_callback(lambda task: died(task) if not task.cancelled() and task.exception() else None)
    return task


async def _endless(name: str, loop: Coroutine[object, object, None]) -> None:
    await loop
    task = asyncio.current_task()
    # Told to stop, some return.
    if task is None or not task.cancelling():
        raise RuntimeError(f"the loop {name} has ended")
