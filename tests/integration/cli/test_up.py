"""`safelight up` for real: all four parts, from the outside."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from support.images import jpeg
from support.ports import free_port
from support.processes import Process, process
from support.servers import server_folder


@pytest.fixture
def data():
    with server_folder() as folder:
        yield folder / "data"


def command(*arguments):
    return [sys.executable, "-m", "safelight_cli", *map(str, arguments)]


def clean_environment(**settings):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    return {**kept, **{f"SAFELIGHT_{name.upper()}": str(value) for name, value in settings.items()}}


@asynccontextmanager
async def service(data, port=None, workers=1, **settings):
    port = port or free_port()
    env = clean_environment(drain_seconds=5, **settings)
    arguments = ("up", "--data", data, "--port", port, "--workers", workers, "--slots", 1)
    async with process("up", command(*arguments), env, port) as running:
        await running.until(lambda: f"ready      http://127.0.0.1:{port}" in running.logs(), "coming up", 90)
        yield running


def refused(*arguments, **settings) -> str:
    """The sentence with which a command says no; it must be one, with exit code 2 and no traceback."""
    done = subprocess.run(
        command(*arguments),
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("safelight")
    return done.stderr


def family(running: Process) -> dict[int, psutil.Process]:
    return {one.pid: one for one in psutil.Process(running.pid).children(recursive=True)}


def is_gone(one: psutil.Process) -> bool:
    try:
        return not one.is_running() or one.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def part(running: Process, words: str) -> psutil.Process:
    """The process that the supervisor itself started with these words."""
    for one in psutil.Process(running.pid).children():
        if words in " ".join(one.cmdline()):
            return one
    raise AssertionError(f"no {words} under {running.pid}:\n{running.logs()}")


def ask(running: Process, path: str, body: bytes | None = None) -> dict:
    request = urllib.request.Request(running.url + path, body, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


async def finish(running: Process, job: dict) -> dict:
    """The job, when it has ended."""

    def ended() -> bool:
        job.update(ask(running, f"/api/jobs/{job['id']}"))
        return job["state"] in ("succeeded", "failed", "canceled")

    await running.until(ended, "the job")
    return job


async def test_a_job_is_done_and_still_there_after_a_restart_and_stopping_leaves_nothing(data):
    async with service(data) as running:
        job = ask(running, "/api/jobs?pipeline=transform", jpeg(64, 48))
        assert (await finish(running, job))["state"] == "succeeded"
        members = family(running)
        running.process.send_signal(signal.SIGINT)
        assert await running.wait() == 0
        assert running.logs().splitlines()[-1] == "stopped"
        assert [one for one in members.values() if not is_gone(one)] == []
    async with service(data) as running:
        assert ask(running, f"/api/jobs/{job['id']}")["state"] == "succeeded"
        assert await running.stop() == 0


async def test_every_part_that_dies_comes_back_and_jobs_go_on(data):
    async with service(data) as running:
        parts = {"postgres": "bin/postgres", "redis": "valkey", "api": "safelight_api"}
        for name, words in {**parts, "processor": "safelight_processor"}.items():
            before = part(running, words)
            before.kill()
            await running.until(
                lambda name=name: re.search(rf"{name} +ready again", running.logs()) is not None, name
            )
            assert part(running, words).pid != before.pid
        await running.until_ready()
        job = ask(running, "/api/jobs?pipeline=transform", jpeg(64, 48))
        assert (await finish(running, job))["state"] == "succeeded"
        assert await running.stop() == 0


async def test_nothing_is_left_when_the_service_is_killed_and_it_starts_again_from_that(data):
    async with service(data) as running:
        members = family(running)
        names = sorted(one.name() for one in members.values())
        assert {"postgres", "valkey-server"} < set(names)
        running.process.kill()
        leftover = dict(members)

        def none_left() -> bool:
            for pid in [pid for pid, one in leftover.items() if is_gone(one)]:
                del leftover[pid]
            return not leftover

        other = Process("observer", ["sleep", "600"], os.environ)
        try:
            await other.until(none_left, f"the end of all of {names}", 40)
        finally:
            other.kill()
    async with service(data, port=running.port) as running:
        assert await running.stop() == 0


async def test_a_disk_that_is_full_of_data_takes_nothing_from_the_metrics_of_the_api(data):
    async with service(data, workers=2) as running:
        pods = part(running, "safelight_api").children()
        mapped: set[Path] = set()

        def all_mapped() -> bool:
            mapped.update(Path(one.path) for pod in pods for one in pod.memory_maps() if ".db" in one.path)
            return len(mapped) >= 2 * 3  # the fourth is mapped at the first request

        await running.until(all_mapped, "counting", 30)
        # A hole would be filled when it is written to: on a full disk that is the end of the process.
        holes = [file for file in mapped if file.stat().st_blocks * 512 < file.stat().st_size]
        assert holes == []
        if os.access("/dev/shm", os.W_OK):
            assert [file for file in mapped if file.is_relative_to(data)] == []
        assert await running.stop() == 0
        assert [file for file in mapped if file.exists()] == []


async def test_a_folder_in_use_is_refused(data):
    async with service(data) as running:
        sentence = refused("up", "--data", data, "--port", free_port())
        assert f"{data} is in use by another `safelight up` (process {running.pid})" in sentence


@pytest.mark.parametrize("shared", [False, True], ids=["plain", "with_reuseport"])
def test_a_taken_port_is_refused(data, shared):
    with socket.socket() as taken:
        if shared:  # as Granian listens: a second one would get half of the connections, without a word
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))  # the kernel's choice: no connection lingers there
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Port {port} of 127.0.0.1: address already in use" in refused(
            "up", "--data", data, "--port", port
        )


def test_a_taken_health_port_is_refused(data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # the kernel's choice: no connection lingers there
        taken.listen()
        health = taken.getsockname()[1]
        sentence = refused("up", "--data", data, "--port", free_port(), health_port=health)
    assert f"Port {health} of 127.0.0.1: address already in use; set another SAFELIGHT_HEALTH" in sentence


def test_one_port_for_two_is_refused(data):
    port = free_port()
    sentence = refused("up", "--data", data, "--port", port, health_port=port)
    assert f"SAFELIGHT_HEALTH_PORT and SAFELIGHT_PORT are both {port}" in sentence


def test_a_scratch_folder_that_cannot_be_used_is_a_sentence_and_everything_stops(data):
    file = data.parent / "file"
    file.write_text("")
    done = subprocess.run(
        command("up", "--data", data, "--port", free_port()),
        env=clean_environment(scratch=file / "scratch"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    [sentence] = done.stderr.splitlines()
    assert f"SAFELIGHT_SCRATCH: {file}/scratch: Not a directory" in sentence


def test_other_machines_are_refused_while_nobody_is_asked_for_a_key(data):
    sentence = refused("up", "--data", data, "--host", "0.0.0.0", "--port", free_port())
    assert "set SAFELIGHT_AUTH=keys, or say --insecure" in sentence


def test_a_data_folder_that_cannot_be_made_is_refused(data):
    data.parent.joinpath("file").write_text("")
    assert "Not a directory" in refused("up", "--data", data.parent / "file" / "data")


def test_what_is_wrong_on_the_command_line_or_in_the_environment_is_one_sentence(data):
    assert "unrecognized arguments: --nonsense" in refused("up", "--nonsense")
    assert "invalid choice: 'nonsense'" in refused("nonsense")
    assert "the following arguments are required: COMMAND" in refused()
    assert "SAFELIGHT_PORT" in refused("up", "--data", data, "--port", "eighty")
    assert "SAFELIGHT_WORKERS" in refused("up", "--data", data, "--port", free_port(), workers=0)
    assert "SAFELIGHT_HEALTH_PORT" in refused("up", "--data", data, health_port="x")


def test_a_host_that_is_none_is_refused(data):
    assert "is no address to listen on" in refused("up", "--data", data, "--host", "no.such.host.invalid")
