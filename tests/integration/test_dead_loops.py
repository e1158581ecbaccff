"""Every loop of both roles: when it dies, by a bug or by coming to an end, its process does not outlive it.

A loop that is new in a role is missing in the lists here, and a test says so.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import safelight_api.app
import safelight_processor.app
from safelight.config import Settings
from safelight_api.leave import Leave
from safelight_api.live import sockets
from safelight_processor.children import Counts
from support.ports import free_port
from support.processes import environment, process

# What each loop does in every turn.
API = {
    "tail": "safelight.progress.tail.Tail._listen",
    "announcer": "safelight.progress.announcer.heed_cancellation",
    "reconcile": "safelight_api.live.hub.Hub.reconcile",
    "database": "safelight.db.migrate.check",
    "redis": "safelight.progress.stream.Stream.ping",
}
PROCESSOR = {
    "tail": "safelight.progress.tail.Tail._listen",
    "children": "test_dead_loops.NoChildren.watch",
    "announcer": "safelight.progress.announcer.heed_cancellation",
    "reporter": "safelight_processor.reporter.heed_cancellation",
    "heed": "safelight_processor.leases.heed_cancellation",
    "heartbeat": "safelight_processor.leases.Leases.heartbeat",
    "registrar": "safelight_processor.maintenance.registrar.Registrar.run_once",
    "admit": "safelight_processor.maintenance.admitter.Admitter.run_once",
    "batches": "safelight_processor.maintenance.batches.BatchEnder.run_once",
    "rescue": "safelight_processor.maintenance.rescuer.Rescuer.run_once",
    "partitions": "safelight_processor.maintenance.partitioner.Partitioner.run_once",
    "prune": "safelight_processor.maintenance.pruner.Pruner.run_once",
    "sweep": "safelight_processor.maintenance.sweeper.Sweeper.run_once",
    "gauges": "safelight_processor.maintenance.gauges.Gauges.run_once",
    "horizon": "safelight_processor.maintenance.horizon.HorizonWatcher.run_once",
    "ready": "test_dead_loops.NoChildren.is_broken",
    "database": "safelight.db.migrate.check",
    "redis": "safelight.progress.stream.Stream.ping",
    "claims": "safelight_processor.claims.Claims._search",
}
# None of the servers is there, which is no reason to end.
SETTINGS = Settings(
    database_url="postgresql://127.0.0.1:1/none",
    redis_url="redis://127.0.0.1:1/0",
    database_timeout=1,
    health_port=0,
    slots=1,
    poll_seconds=0.1,
)


class BugError(Exception):
    """No outage."""


def bug(*_: object) -> None:
    raise BugError


async def bug_later(*_: object) -> None:
    raise BugError


class NoChildren:
    """In place of the pool of children, which takes a second to start."""

    pillow = "none"
    counts = Counts(size=1, alive=1, idle=1, started=1, failed_starts=0, recycled=0, crashes={})

    def __init__(self, *_: object, **__: object) -> None:
        self.broken = self

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def watch(self) -> None:
        await asyncio.Event().wait()

    def declarations(self) -> list[object]:
        return []

    def is_set(self) -> bool:
        return bool(self.is_broken())

    def is_broken(self) -> None: ...


def loops() -> set[str]:
    """The names of the loops that are tasks now."""
    return {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}


@pytest.fixture
def killed(monkeypatch) -> "asyncio.Queue[int]":
    """What the API would have been killed with."""
    killed: asyncio.Queue[int] = asyncio.Queue()
    monkeypatch.setattr(safelight_api.app.os, "kill", lambda pid, number: killed.put_nowait(number))
    return killed


def die(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    if target.startswith("test_dead_loops.NoChildren."):
        monkeypatch.setattr(NoChildren, target.rpartition(".")[2], bug_later if "watch" in target else bug)
    else:
        monkeypatch.setattr(target, bug)


@pytest.mark.parametrize("loop", API)
async def test_a_loop_of_the_api_that_dies_takes_its_process_along(loop, monkeypatch, killed):
    die(monkeypatch, API[loop])
    async with asyncio.timeout(20), safelight_api.app.run(SETTINGS, Leave(SETTINGS, sockets.count)):
        assert await killed.get() == signal.SIGKILL


async def test_the_api_that_stops_in_order_kills_nobody(killed):
    async with safelight_api.app.run(SETTINGS, Leave(SETTINGS, sockets.count)):
        await asyncio.sleep(0.1)
    assert killed.empty()


@pytest.fixture
def processor(monkeypatch):
    monkeypatch.setattr(safelight_processor.app, "Children", NoChildren)

    async def registered(*_: object) -> None: ...

    monkeypatch.setattr("safelight.jobs.queue.JobQueue.register", registered)
    return lambda: asyncio.wait_for(safelight_processor.app.run(SETTINGS), 20)


@pytest.mark.parametrize("loop", PROCESSOR)
async def test_a_loop_of_the_processor_that_dies_takes_its_process_along(loop, monkeypatch, processor):
    die(monkeypatch, PROCESSOR[loop])
    with pytest.raises(ExceptionGroup) as caught:
        await processor()
    assert caught.group_contains(BugError)


async def test_no_loop_is_missing_here(killed, processor):
    ours = {name for name in loops() if not name.startswith("Task-")}
    async with safelight_api.app.run(SETTINGS, Leave(SETTINGS, sockets.count)):
        await asyncio.sleep(0)
        api = {name for name in loops() if not name.startswith("Task-")} - ours
    running = asyncio.create_task(processor())
    while "claims" not in loops() and not running.done():
        await asyncio.sleep(0.01)
    of_processor = {name for name in loops() if not name.startswith("Task-")} - ours
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert api == set(API)
    assert of_processor == set(PROCESSOR)


# Real processes


def bugged(folder: Path, target: str, more: str = "") -> dict[str, str]:
    """Environment of a process in which this dies as soon as there is a file `bug` in the folder."""
    module, _, attribute = target.rpartition(".")
    module, _, owner = module.rpartition(".")
    (folder / "sitecustomize.py").write_text(
        f"""
import os, sys
if sys.orig_argv[1:2] != ["-I"] and "safelight_" in " ".join(sys.orig_argv):
    import importlib
    owner = getattr(importlib.import_module("{module}"), "{owner}")
    real = owner.{attribute}
    async def {attribute}(self, *given):
        if os.path.exists("{folder}/bug"):
            raise KeyError("a bug")
        return await real(self, *given)
    owner.{attribute} = {attribute}
{more}
"""
    )
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(Path(__file__).parents[1])))}


async def test_a_processor_with_a_dead_loop_ends_also_when_something_hangs(database, redis_url, tmp_path):
    more = """
    import asyncio, safelight_processor.app as app, safelight_processor.reporter as reporter
    app._LAST_SECONDS = 1
    async def deaf(self):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
    reporter.Reporter.run = deaf
"""
    port = free_port()
    env = environment(database, redis_url, health_port=port, slots=1)
    env |= bugged(tmp_path, "safelight_processor.maintenance.rescuer.Rescuer.run_once", more)
    argv = [sys.executable, "-m", "safelight_processor"]
    async with process("processor", argv, env, port) as running:
        await running.until_ready()
        (tmp_path / "bug").touch()
        assert await running.wait(30) == 1
        assert "loop.died" in running.logs()


async def test_an_api_process_with_a_dead_loop_is_replaced(database, redis_url, tmp_path):
    port = free_port()
    env = environment(database, redis_url, port=port)
    env |= bugged(tmp_path, "safelight.progress.stream.Stream.ping")
    async with process("api", [sys.executable, "-m", "safelight_api"], env, port) as running:
        await running.until_ready()
        (tmp_path / "bug").touch()
        await running.until(lambda: "loop.died" in running.logs(), "dying")
        (tmp_path / "bug").unlink()
        await running.until_ready()
