"""The process behind a child: started, its death noticed, the end of its standard error kept.

`parent.py` builds on these three; they know nothing of tasks. All of it runs on the event loop, asyncio's
or uvloop's, and needs no thread: asyncio's own subprocesses wait for pipes that a grandchild may hold.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Final, Self

import msgspec

from safelight_processor.child import tree

STDERR_BYTES: Final = 4096
POLL_SECONDS: Final = 0.05
PASSED_ON: Final = ("PATH", "TZ", "LD_LIBRARY_PATH")


class StartError(Exception):
    """A child could not be started; the text says why, with the last that it wrote."""


class Launch(msgspec.Struct, frozen=True):
    """How children are started: command, environment, working folder."""

    command: list[str]
    environ: dict[str, str]
    folder: str

    @classmethod
    def of(cls, environ: Mapping[str, str], folder: str) -> Self:
        """The launch for a parent's environment; next to nothing of it is passed on."""
        command = [
            sys.executable,
            "-I",
            "-X",
            "utf8",
            "-X",
            "faulthandler",
            "-m",
            "safelight_processor.child",
        ]
        command.append(str(os.getpid()))
        passed = {name: environ[name] for name in PASSED_ON if name in environ}
        passed |= {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # One heap for all threads: further ones would reserve address space, of which a task has little.
        passed["MALLOC_ARENA_MAX"] = "1"
        if modules := environ.get("SAFELIGHT_PIPELINE_MODULES"):
            passed["SAFELIGHT_PIPELINE_MODULES"] = modules
            # -I ignores PYTHONPATH, where pipelines under development are found.
            command += [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        return cls(command, passed, folder)


def execute(launch: Launch, channel: socket.socket, stderr: socket.socket) -> "subprocess.Popen[bytes]":
    """Start the process in a session of its own. It takes about a millisecond; imports happen over there.

    To be called by the thread of the event loop: the kernel kills the child when the thread that has
    started it ends, and a pool's threads come and go.

    Raises:
        StartError: it cannot be executed.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            launch.command,
            stdin=channel.fileno(),
            stdout=stderr.fileno(),
            stderr=stderr.fileno(),
            env=launch.environ,
            cwd=launch.folder,
            start_new_session=True,
        )
    except OSError as error:
        raise StartError(f"the child cannot be started: {error}") from error


def watch(process: "subprocess.Popen[bytes]") -> "asyncio.Future[int]":
    """A future of the return code; when it is done, the process is reaped and its group killed."""
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or out of descriptors
        _poll(process, exited)
        return exited

    def died() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        # Before reaping: until then, nobody else can have the number of this group.
        tree.kill_group(process.pid)
        exited.set_result(process.wait())

    loop.add_reader(handle, died)
    return exited


def _poll(process: "subprocess.Popen[bytes]", exited: "asyncio.Future[int]") -> None:
    returncode = process.poll()
    if returncode is None:
        exited.get_loop().call_later(POLL_SECONDS, _poll, process, exited)
    else:
        tree.kill_group(process.pid)
        exited.set_result(returncode)


class Tail(asyncio.Protocol):
    """Reads a child's standard error for as long as it writes, and keeps the last 4 KiB."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Keep the end of it."""
        self._kept += data
        del self._kept[:-STDERR_BYTES]

    def connection_lost(self, _error: Exception | None) -> None:
        """Everybody who could write has closed it."""
        if not self._closed.done():
            self._closed.set_result(None)

    def clear(self) -> None:
        """Forget what was written so far."""
        self._kept.clear()

    def text(self) -> str:
        """What was written last."""
        return self._kept.decode(errors="replace")

    async def wait(self, seconds: float) -> None:
        """Wait for the end of the stream, so long at most."""
        await asyncio.wait({self._closed}, timeout=seconds)
