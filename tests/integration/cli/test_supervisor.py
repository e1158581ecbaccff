"""The supervisor over stand-ins: small programs that report what happens to them in a file."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from safelight_cli.embedded import supervisor as supervisors
from safelight_cli.embedded.part import CannotStartError, Part
from safelight_cli.embedded.supervisor import ServiceDownError, Supervisor

# Says "up NAME PID" once it listens to signals, "down NAME" when it is asked to stop.
_STAND_IN = """
    import os, signal, sys, time
    name, diary, manner = sys.argv[1:4]
    def tell(text):
        fd = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, (text + "\\n").encode())
        os.close(fd)
    def stop(*_):
        tell("down " + name)
        if manner != "stubborn":
            sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    if manner == "broken":
        print("my last words", flush=True)
        sys.exit(3)
    if manner == "parent" and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tell("up child %d" % os.getpid())
        time.sleep(600)
    tell("up %s %d" % (name, os.getpid()))
    while True:
        time.sleep(600)
"""


class Diary:
    """What the stand-ins have written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[2]) for line in self.lines() if line.startswith(f"up {name} ")]

    async def until(self, is_so, what: str, seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not is_so():
                await asyncio.sleep(0.01)


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary")


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(tmp_path, said):
    (tmp_path / "logs").mkdir()
    return Supervisor(tmp_path / "logs", lambda part, text: said.append(f"{part}: {text}"))


def stand_in(diary: Diary, name: str, manner: str = "kind", **options) -> Part:
    argv = (sys.executable, "-c", textwrap.dedent(_STAND_IN), name, str(diary.path), manner)
    options = {"ready": lambda: bool(diary.pids(name)), **options}
    return Part(name=name, argv=argv, **options)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_parts_start_in_order_and_stop_in_the_opposite_order(supervisor, diary):
    async with supervisor:
        for name in ("one", "two", "three"):
            await supervisor.start(stand_in(diary, name))
    events = [" ".join(line.split()[:2]) for line in diary.lines()]
    assert events == ["up one", "up two", "up three", "down three", "down two", "down one"]


async def test_a_part_that_was_killed_starts_again(supervisor, diary, said):
    async with supervisor:
        await supervisor.start(stand_in(diary, "one"))
        os.kill(diary.pids("one")[0], signal.SIGKILL)
        await diary.until(lambda: len(diary.pids("one")) == 2, "a second life")
        watching = asyncio.create_task(supervisor.watch())
        await diary.until(lambda: "one: ready again" in said, "readiness")
        assert not watching.done()
        watching.cancel()
    assert any("was ended by SIGKILL; it starts again" in line for line in said)


async def test_a_part_that_keeps_dying_takes_the_service_down(supervisor, diary, monkeypatch):
    monkeypatch.setattr(supervisors, "_LONGEST_PAUSE", 0.05)
    async with supervisor:
        await supervisor.start(stand_in(diary, "one"))
        watching = asyncio.create_task(supervisor.watch())
        for life in range(1, supervisors.DEATHS + 1):
            await diary.until(lambda life=life: len(diary.pids("one")) == life, "another life")
            os.kill(diary.pids("one")[-1], signal.SIGKILL)
        with pytest.raises(ServiceDownError, match=r"one died 5 times within a minute.*one\.log"):
            await asyncio.wait_for(watching, 30)


async def test_a_part_that_dies_while_starting_is_a_sentence_with_its_last_words(supervisor, diary):
    part = stand_in(diary, "one", "broken")
    async with supervisor:
        with pytest.raises(
            CannotStartError, match="one ended with exit code 3 while starting: my last words"
        ):
            await asyncio.wait_for(supervisor.start(part), 30)


async def test_a_part_that_never_gets_ready_is_a_sentence_and_is_killed(supervisor, diary):
    part = stand_in(diary, "one", ready=lambda: False, ready_within=0.5)
    async with supervisor:
        with pytest.raises(CannotStartError, match=r"one was not ready within 0\.5 s"):
            await asyncio.wait_for(supervisor.start(part), 30)
    assert all(is_gone(pid) for pid in diary.pids("one"))


async def test_a_part_that_does_not_stop_is_killed_when_its_patience_is_over(supervisor, diary):
    async with asyncio.timeout(30), supervisor:
        await supervisor.start(stand_in(diary, "one", "stubborn", patience=0.3))
    assert diary.lines()[-1] == "down one"
    assert is_gone(diary.pids("one")[0])


async def test_hurrying_ends_what_is_being_stopped(supervisor, diary):
    async def hurry():
        await diary.until(lambda: "down one" in diary.lines(), "the first request")
        supervisor.hurry()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group, supervisor:
        await supervisor.start(stand_in(diary, "one", "stubborn", patience=600))
        group.create_task(hurry())
    assert diary.lines().count("down one") == 2
    assert is_gone(diary.pids("one")[0])


async def test_what_a_part_started_goes_with_it(supervisor, diary):
    async with supervisor:
        await supervisor.start(stand_in(diary, "one", "parent"))
        await diary.until(lambda: bool(diary.pids("child")), "the child")
        os.kill(diary.pids("one")[0], signal.SIGKILL)
        await diary.until(lambda: is_gone(diary.pids("child")[0]), "the child's end")


async def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path, diary):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
        from test_supervisor import Diary, Supervisor, stand_in
        async def main():
            diary = Diary(Path({str(diary.path)!r}))
            async with Supervisor(Path({str(tmp_path)!r}), print) as supervisor:
                await supervisor.start(stand_in(diary, "one"))
                await supervisor.start(stand_in(diary, "two"))
                await supervisor.watch()
        asyncio.run(main())
        """)
    )
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        await diary.until(lambda: diary.pids("one") and diary.pids("two"), "both parts")
    finally:
        process.kill()
        process.wait()
    pids = diary.pids("one") + diary.pids("two")
    await diary.until(lambda: all(map(is_gone, pids)), "the end of both")
