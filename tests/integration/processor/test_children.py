"""Real children, friendly and hostile, under the pool that the processor runs them in."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import uvloop

from safelight.errors import CATALOGUE
from safelight_processor.child.outputs import open_output
from safelight_processor.child.protocol import InputFile, Limits, Progress, Task
from safelight_processor.children import Children, Crashed, Ending, Failed, Finished, NoChildError, TimedOut
from support import hostile

MiB = 1024 * 1024
LIMITS = Limits(memory=256 * MiB, cpu=300.0, file=16 * MiB, pixels=1_000_000)
PATIENCE = 60.0  # seconds; nothing here takes that long, but for a machine that is badly overloaded


@asynccontextmanager
async def pool(size: int = 1, **options: Any) -> AsyncIterator[Children]:
    children = Children(size, **{"environ": hostile.environ(), "start_seconds": PATIENCE, **options})
    await children.start()
    try:
        yield children
    finally:
        await children.close()
        assert children.counts.alive == 0


async def run(
    children: Children,
    pipeline: str,
    params: dict[str, Any] | None = None,
    *,
    deadline: float = PATIENCE,
    limits: Limits = LIMITS,
    inputs: list[InputFile] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Ending:
    with tempfile.TemporaryDirectory() as workdir:
        raw = msgspec.json.encode(params or {})
        task = Task("0193", pipeline, raw, inputs or [], workdir, limits)
        return await children.run(task, deadline, on_progress)


def result(ending: Ending) -> dict[str, Any]:
    assert isinstance(ending, Finished), ending
    found = msgspec.json.decode(ending.result or b"null")
    assert isinstance(found, dict)
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that init has not reaped has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def group_of(pid: int) -> list[int]:
    """The processes of a group that have not ended."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


# Every way to misbehave ends typed, hurts nobody else, and leaves the slot as it was


def crashed(reason: str, detail: str = "") -> Callable[[Ending], bool]:
    return lambda end: isinstance(end, Crashed) and end.reason == reason and detail in end.detail


def failed(code: str, message: str = "") -> Callable[[Ending], bool]:
    return lambda end: isinstance(end, Failed) and end.code == code and message in end.message


def timed_out(seconds: float) -> Callable[[Ending], bool]:
    return lambda end: end == TimedOut(seconds)


SHORT = {"deadline": 1.0}
ONE_CPU_SECOND = {"limits": Limits(256 * MiB, 1.0, MiB, 1000)}

HOSTILE: dict[str, tuple[str, dict[str, Any], dict[str, Any], Callable[[Ending], bool]]] = {
    "segfault": ("hostile-segfault", {}, {}, crashed("signal", "SIGSEGV")),
    "exit": ("hostile-exit", {}, {}, crashed("exit", "code 3")),
    "bad_alloc": ("hostile-abort", {}, {}, crashed("memory", "SIGABRT")),
    "loop": ("hostile-loop", {}, SHORT, timed_out(1.0)),
    "stuck in C": ("hostile-stuck", {}, SHORT, timed_out(1.0)),
    "too much CPU": ("hostile-loop", {}, ONE_CPU_SECOND, failed("deadline_exceeded")),
    "too much CPU, stubborn": ("hostile-stubborn", {}, ONE_CPU_SECOND, timed_out(1.0)),
    "too much memory": ("hostile-memory", {}, {}, failed("memory_exceeded")),
    "too large a file": ("hostile-file", {}, {}, failed("output_invalid")),
    "too large a result": ("hostile-result", {}, {}, failed("output_invalid")),
    "a NUL in the result": ("hostile-nul", {}, {}, failed("output_invalid")),
    "exception": ("hostile-raise", {}, {}, failed("pipeline_failed", CATALOGUE["pipeline_failed"].message)),
    "huge frame": ("hostile-garbage", {"kind": "huge"}, {}, crashed("protocol", "over the limit")),
    "noise": ("hostile-garbage", {"kind": "noise"}, {}, crashed("protocol")),
    "flood": ("hostile-garbage", {"kind": "flood"}, {}, crashed("protocol", "too many")),
    "ready again": ("hostile-garbage", {"kind": "ready"}, {}, crashed("protocol", "second time")),
    "no number": ("hostile-garbage", {"kind": "nan"}, {}, crashed("protocol")),
    "closed": ("hostile-garbage", {"kind": "close"}, {}, crashed("protocol", "closed the channel")),
    "symlink": ("hostile-symlink", {"kind": "symlink"}, {}, failed("output_invalid")),
    "symlink later": ("hostile-symlink", {"kind": "swapped"}, {}, failed("output_invalid", "cannot be read")),
    "linked folder": ("hostile-symlink", {"kind": "folder"}, {}, failed("output_invalid", "outside")),
    "named pipe": ("hostile-symlink", {"kind": "pipe"}, {}, failed("output_invalid", "no file")),
    "path outside": ("hostile-symlink", {"kind": "outside"}, {}, failed("output_invalid", "outside")),
    "a page": ("hostile-symlink", {"kind": "html"}, {}, failed("output_invalid", "type")),
    "no JPEG": ("hostile-symlink", {"kind": "type"}, {}, failed("output_invalid", "no image/jpeg")),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_pipeline_ends_typed_and_hurts_nobody_else(name: str, tmp_path: Path) -> None:
    pipeline, params, options, expected = HOSTILE[name]
    async with pool(size=2) as children:
        door = tmp_path / "door"
        neighbour = asyncio.create_task(run(children, "gate", {"file": str(door)}))
        await until(lambda: children.counts.idle < children.counts.alive)

        ending = await run(children, pipeline, params, **options)
        assert expected(ending), ending
        assert not isinstance(ending, Failed) or "/" not in ending.message.replace("image/jpeg", "")

        # The slot works again, before and after the pool is complete, and the neighbour saw nothing.
        result(await run(children, "noop"))
        door.touch()
        result(await neighbour)
        await until(lambda: children.counts.idle == 2)
        result(await run(children, "noop"))


async def test_a_crash_comes_with_the_last_that_was_written() -> None:
    async with pool() as children:
        ending = await run(children, "hostile-segfault")
        assert isinstance(ending, Crashed)
        assert "Segmentation fault" in ending.stderr
        assert "hostile.py" in ending.stderr
        assert len(ending.stderr) <= 4096
        assert children.counts.crashes == {"signal": 1}


async def test_printing_does_not_reach_the_channel() -> None:
    async with pool() as children:
        assert result(await run(children, "hostile-print")) == {"stdin": ""}
        assert children.counts.crashes == {}


async def test_thousands_of_reports_arrive_as_a_few_and_the_last_is_among_them() -> None:
    seen: list[Progress] = []
    async with pool() as children:
        result(await run(children, "hostile-flood", on_progress=seen.append))
    assert seen[-1].status == "the last"
    assert len(seen) < 10_000
    assert [report.progress for report in seen] == sorted(report.progress for report in seen)


async def test_a_report_arrives_though_the_pipeline_never_reports_again(tmp_path: Path) -> None:
    seen: asyncio.Queue[Progress] = asyncio.Queue()
    async with pool() as children:
        running = asyncio.create_task(
            run(children, "gate", {"file": str(tmp_path / "door")}, on_progress=seen.put_nowait)
        )
        async with asyncio.timeout(PATIENCE):
            while (await seen.get()).status != "second":
                pass
        (tmp_path / "door").touch()
        result(await running)


async def test_an_unknown_pipeline_and_wrong_params_are_failures() -> None:
    async with pool() as children:
        assert failed("pipeline_unknown")(await run(children, "nothing"))
        assert failed("params_invalid")(await run(children, "echo", {"text": 1}))


async def test_the_parent_knows_what_the_children_can_do() -> None:
    async with pool() as children:
        found = {declaration.name: declaration for declaration in children.declarations()}
        assert {"noop", "slow", "echo", "hostile-loop"} <= set(found)
        assert found["slow"].deadline == 600
        assert [stage.name for stage in found["slow"].stages] == ["work"]
        assert "seconds" in msgspec.json.decode(found["slow"].schema)["properties"]
        assert children.pillow.startswith(("pillow 1", "pillow-simd 1"))


# What a child can see


async def test_a_child_sees_nothing_of_its_parents_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", "postgresql://secret")
    secret, _ = files = os.pipe()
    os.set_inheritable(secret, True)
    try:
        async with pool(environ={**os.environ, **hostile.environ()}) as children:
            world = result(await run(children, "mirror"))
    finally:
        for file in files:
            os.close(file)
    assert "secret" not in str(world)
    assert set(world["environ"]) <= {
        "PATH", "TZ", "LD_LIBRARY_PATH", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "MALLOC_ARENA_MAX", "SAFELIGHT_PIPELINE_MODULES",
    }  # fmt: skip
    kinds = [target.partition(":")[0] for target in world["descriptors"]]
    assert kinds.count("socket") == 3  # standard output, standard error, the channel
    assert "pipe" not in kinds
    assert world["isolated"] == 1


async def test_a_child_is_tied_down() -> None:
    async with pool() as children:
        world = result(await run(children, "mirror"))
        assert world["no_new_privs"] == "1"
        assert world["core"] == 0
        assert world["files"] == 64
        assert world["pid"] == world["group"] == world["session"]
        assert world["folder"] == world["temporary"] == world["workdir"]
        assert LIMITS.memory < world["memory"] < LIMITS.memory + 4096 * MiB


async def test_limits_are_those_of_each_task_and_not_of_the_one_before() -> None:
    async with pool() as children:
        memory = [
            result(await run(children, "mirror", limits=msgspec.structs.replace(LIMITS, memory=size * MiB)))
            for size in (64, 2048, 64)
        ]
        assert memory[0]["pid"] == memory[1]["pid"] == memory[2]["pid"]
        assert memory[1]["memory"] - memory[0]["memory"] > 1900 * MiB
        assert abs(memory[2]["memory"] - memory[0]["memory"]) < 60 * MiB


# Cancelling


async def cancel_when_running(children: Children, pipeline: str, params: dict[str, Any] | None = None) -> int:
    """Run it, cancel it when it has said its process number, and answer that number."""
    pids: asyncio.Queue[int] = asyncio.Queue()
    running = asyncio.create_task(
        run(children, pipeline, params, on_progress=lambda report: pids.put_nowait(int(report.status)))
    )
    async with asyncio.timeout(PATIENCE):
        pid = await pids.get()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    return pid


@pytest.mark.parametrize("pipeline", ["hostile-loop", "hostile-stuck"])
async def test_a_cancelled_run_leaves_no_process_of_its_group(pipeline: str) -> None:
    async with pool() as children:
        pid = await cancel_when_running(children, pipeline)
        assert not psutil.pid_exists(pid)  # dead and reaped, in the moment in which the cancel goes on
        assert group_of(pid) == []
        result(await run(children, "noop"))
        assert children.counts.crashes == {"canceled": 1}


async def test_a_run_that_is_cancelled_again_and_again_is_still_reaped() -> None:
    pids: asyncio.Queue[int] = asyncio.Queue()
    async with pool() as children:
        running = asyncio.create_task(
            run(children, "hostile-stuck", on_progress=lambda report: pids.put_nowait(int(report.status)))
        )
        pid = await pids.get()
        while not running.done():
            running.cancel()
            await asyncio.sleep(0)
        assert running.cancelled()
        assert not psutil.pid_exists(pid)


async def test_a_listener_that_fails_takes_the_child_with_it() -> None:
    pids: list[int] = []

    def listen(report: Progress) -> None:
        pids.append(int(report.status))
        raise TimeoutError("mine")

    async with pool() as children:
        with pytest.raises(TimeoutError, match="mine"):
            await run(children, "hostile-loop", on_progress=listen)
        assert not psutil.pid_exists(pids[0])
        result(await run(children, "noop"))


# What is left behind


async def started(file: Path) -> list[int]:
    await until(file.exists)
    return [int(pid) for pid in (await asyncio.to_thread(file.read_text)).split()]


async def test_what_a_run_has_started_ends_with_it(tmp_path: Path) -> None:
    async with pool() as children:
        ending = await run(children, "hostile-fork", {"pids": str(tmp_path / "pids")})
        assert isinstance(ending, Finished)
        assert all(is_gone(pid) for pid in await started(tmp_path / "pids"))


async def test_what_a_run_has_started_is_killed_with_it_also_where_it_left_the_group(tmp_path: Path) -> None:
    async with pool() as children:
        running = asyncio.create_task(
            run(children, "hostile-fork", {"pids": str(tmp_path / "pids"), "then": "hang"})
        )
        pids = await started(tmp_path / "pids")
        assert not any(is_gone(pid) for pid in pids)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: all(is_gone(pid) for pid in pids))


async def test_the_group_of_a_child_that_dies_is_killed_and_its_death_is_noticed(tmp_path: Path) -> None:
    # The daemon that it has started holds the channel open; the crash must be seen all the same.
    async with pool() as children:
        ending = await run(children, "hostile-fork", {"pids": str(tmp_path / "pids"), "then": "die"})
        in_group, *escaped = await started(tmp_path / "pids")
        try:
            assert crashed("exit", "code 3")(ending), ending
            await until(lambda: is_gone(in_group))
        finally:
            for pid in escaped:
                os.kill(pid, signal.SIGKILL)


async def test_a_thread_that_is_left_behind_does_not_meet_the_next_task() -> None:
    seen: list[Progress] = []
    async with pool() as children:
        first = result(await run(children, "hostile-thread"))
        second = result(await run(children, "mirror", on_progress=seen.append))
        assert first["pid"] != second["pid"]
        assert seen == []
        assert children.counts.recycled == 1
        assert children.counts.crashes == {}


async def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent("""
        import asyncio, sys
        from safelight_processor.child.protocol import Limits, Task
        from safelight_processor.children import Children

        async def main():
            children = Children(2)
            await children.start()
            for child in "ab":
                task = Task(child, "hostile-stuck", b"{}", [], sys.argv[1], Limits(2**28, 60.0, 1, 1))
                asyncio.ensure_future(children.run(task, 600, lambda said: print(said.status, flush=True)))
            await asyncio.sleep(600)

        asyncio.run(main())
        """)
    )
    process = subprocess.Popen(  # noqa: ASYNC220 - a millisecond
        [sys.executable, str(parent), str(tmp_path)], stdout=subprocess.PIPE, env=hostile.environ()
    )
    assert process.stdout is not None
    try:
        lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(2)]
        pids = [int(line) for line in lines]
        assert not any(is_gone(pid) for pid in pids)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    await until(lambda: all(is_gone(pid) for pid in pids))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
async def test_a_signal_that_is_for_the_parent_does_not_hurt_its_children(
    number: int, tmp_path: Path
) -> None:
    """Who stops a service often tells all its processes. A task that died of it would seem to be to blame."""
    async with pool() as children:
        pid = result(await run(children, "mirror"))["pid"]
        door = tmp_path / "door"
        task = asyncio.create_task(run(children, "gate", {"file": str(door)}))
        await until(lambda: children.counts.idle == 0)
        os.kill(pid, number)
        door.touch()

        result(await task)

        assert result(await run(children, "mirror"))["pid"] == pid
        assert children.counts.crashes == {}


# The pool


async def test_a_child_is_replaced_after_its_share_and_no_task_is_lost() -> None:
    async with pool(recycle_after=5) as children:
        pids: list[int] = []
        async with asyncio.timeout(PATIENCE):
            while len(set(pids)) < 3:  # a child that is due works on until its replacement is warm
                pids.append(result(await run(children, "echo"))["pid"])
                assert children.counts.alive <= 2
        assert pids.count(pids[0]) >= 5
        assert children.counts.crashes == {}
        await until(lambda: children.counts.recycled >= 2 and children.counts.alive == 1)
        await until(lambda: group_of(pids[0]) == [])


async def test_a_child_that_has_grown_is_replaced() -> None:
    roomy = msgspec.structs.replace(LIMITS, memory=1024 * MiB)
    async with pool() as children:
        first = result(await run(children, "hostile-hoard", limits=roomy))
        assert result(await run(children, "mirror"))["pid"] != first["pid"]
        assert children.counts.recycled == 1


async def test_a_child_that_dies_while_it_is_idle_is_replaced() -> None:
    async with pool() as children:
        pid = result(await run(children, "mirror"))["pid"]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: children.counts.crashes == {"idle": 1})
        assert result(await run(children, "mirror"))["pid"] != pid


async def test_more_runs_than_children_wait_for_their_turn() -> None:
    async with pool(size=2) as children:
        answers = await asyncio.gather(*(run(children, "echo", {"text": str(n)}) for n in range(50)))
        assert [result(answer)["text"] for answer in answers] == [str(number) for number in range(50)]
        assert len({result(answer)["pid"] for answer in answers}) <= 2


async def test_a_run_that_waits_too_long_for_a_child_says_so(tmp_path: Path) -> None:
    async with pool(wait_seconds=0.05) as children:
        door = tmp_path / "door"
        running = asyncio.create_task(run(children, "gate", {"file": str(door)}))
        await until(lambda: children.counts.idle == 0)
        with pytest.raises(NoChildError, match=r"within 0\.05 s"):
            await run(children, "noop")
        door.touch()
        result(await running)


async def test_closing_ends_running_and_waiting_runs_without_blaming_them(tmp_path: Path) -> None:
    async with pool() as children:
        busy = asyncio.create_task(run(children, "hostile-stuck"))
        await until(lambda: children.counts.idle == 0)
        waiting = asyncio.create_task(run(children, "noop"))
        await asyncio.sleep(0)
        watch = asyncio.create_task(children.watch())
        await children.close()
        async with asyncio.timeout(PATIENCE):
            await watch
            for ended in (busy, waiting):
                with pytest.raises(NoChildError, match="closing"):
                    await ended


async def test_a_pool_that_cannot_start_says_why() -> None:
    children = Children(2, environ=hostile.environ("support.nothing:at_all"))
    try:
        with pytest.raises(NoChildError, match=r"support\.nothing"):
            await children.start()
        assert children.broken.is_set()
        assert children.counts.failed_starts >= 5
    finally:
        await children.close()


async def test_a_pool_that_breaks_says_so_and_heals_by_itself(tmp_path: Path) -> None:
    module = tmp_path / "fragile.py"
    good = "from support.hostile import noop, segfault\n"
    module.write_text(good)
    environ = hostile.environ("fragile:noop,fragile:segfault")
    environ["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    async with pool(environ=environ) as children:
        module.write_text("raise ImportError('broken')\n")
        assert isinstance(await run(children, "hostile-segfault"), Crashed)
        with pytest.raises(NoChildError, match="broken"):
            await run(children, "noop")
        assert children.broken.is_set()

        module.write_text(good)
        await until(lambda: not children.broken.is_set())
        result(await run(children, "noop"))


async def test_a_child_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "sleepy.py").write_text("import time\ntime.sleep(600)\n")
    environ = {**hostile.environ("sleepy:at_all"), "PYTHONPATH": str(tmp_path)}
    children = Children(1, environ=environ, start_seconds=0.3)
    try:
        with pytest.raises(NoChildError, match="not ready"):
            await children.start()
    finally:
        await children.close()
    assert children.counts.alive == 0


async def test_a_failure_of_the_keeper_reaches_who_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pool() as children:
        monkeypatch.setattr(children, "_missing", lambda: 1 // 0)
        watch = asyncio.create_task(children.watch())
        assert isinstance(await run(children, "hostile-segfault"), Crashed)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(watch, PATIENCE)
        with pytest.raises(NoChildError):
            await run(children, "noop")


async def test_hundreds_of_tasks_and_dozens_of_children_leave_no_descriptor_open() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with pool(recycle_after=20) as children:
        result(await run(children, "noop"))
        before = descriptors()
        for number in range(200):
            ending = await run(children, "noop" if number % 40 else "hostile-segfault")
            assert isinstance(ending, Finished if number % 40 else Crashed)
        assert children.counts.started > 5
        # While one child replaces another there are two, for a moment.
        await until(lambda: children.counts.alive == 1 and descriptors() == before)


async def test_an_image_comes_back_as_it_went(tmp_path: Path) -> None:
    content = b"\xff\xd8\xff\xe0" + os.urandom(200_000)
    (tmp_path / "0").write_bytes(content)
    image = InputFile(str(tmp_path / "0"), "a.jpeg", "image/png", 10, 20, len(content))
    workdir = tmp_path / "run"
    workdir.mkdir()
    async with pool() as children:
        task = Task("0193", "echo", b"{}", [image], str(workdir), LIMITS)
        # It says it is a PNG and is none: the child's own code finds out.
        assert failed("output_invalid")(await children.run(task, PATIENCE, lambda _: None))

        plain = msgspec.structs.replace(image, media_type="text/plain")
        (workdir / "out.echo-0.png").unlink()
        ending = await children.run(msgspec.structs.replace(task, inputs=[plain]), PATIENCE, lambda _: None)
        assert isinstance(ending, Finished)
        assert [(output.name, output.media_type) for output in ending.outputs] == [
            ("echo-0.plain", "text/plain")
        ]
        with open_output(ending.outputs[0]) as file:
            assert file.read() == content


async def test_a_flaky_pipeline_fails_and_crashes_as_it_is_told(tmp_path: Path) -> None:
    marker = {"marker": str(tmp_path / "calls"), "failures": 1}
    async with pool() as children:
        first = await run(children, "flaky", marker)
        assert isinstance(first, Failed)
        assert first.retryable
        assert result(await run(children, "flaky", marker)) == {"calls": 2}
        assert crashed("signal")(await run(children, "flaky", {**marker, "failures": 3, "crash": True}))


def on_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_all_of_it_works_on_uvloop_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with pool(size=2) as children:
            for _ in range(3):
                result(await run(children, "noop"))
            assert crashed("signal")(await run(children, "hostile-segfault"))
            assert timed_out(0.5)(await run(children, "hostile-stuck", deadline=0.5))
            assert crashed("protocol")(await run(children, "hostile-garbage", {"kind": "close"}))
            pid = await cancel_when_running(children, "hostile-stuck")
            assert group_of(pid) == []
            seen: list[Progress] = []
            result(await run(children, "slow", {"seconds": 0.1, "steps": 5}, on_progress=seen.append))
            assert seen[-1].progress == 100.0

    on_uvloop(main)
