"""Pipelines for tests: some that behave as badly as code can, and a few friendly ones.

A processor (or `Children`) has them with `SAFELIGHT_PIPELINE_MODULES=` what `MODULES` holds, and the
folder `tests` in PYTHONPATH.

    noop  slow  flaky  echo  gate  mirror     friendly
    hostile-*                                 each misbehaves in the way that its name says
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from safelight.pipelines import Failure, Meta, MiB, Output, Params, Pipeline, Run, Stage, pipeline
from safelight_processor.child import protocol

# The friendly ones


@pipeline("noop", deadline=10, max_pixels=200_000_000)
def noop(run: Run) -> dict[str, Any]:
    """Do nothing."""
    return {}


class Slow(Params, frozen=True):
    """How slow, and in how many reported steps."""

    seconds: Annotated[float, Meta(ge=0, le=600)] = 1.0
    steps: Annotated[int, Meta(ge=1, le=10_000)] = 10


@pipeline("slow", stages=[Stage("work", 1)], deadline=600)
def slow(run: Run, params: Slow) -> dict[str, Any]:
    """Take some time, and say how far it is."""
    with run.stage("work"):
        for step in range(params.steps):
            time.sleep(params.seconds / params.steps)
            run.progress((step + 1) / params.steps, f"step {step + 1} of {params.steps}")
    return {"steps": params.steps, "pid": os.getpid()}


class Flaky(Params, frozen=True):
    """Fails until it has been called `failures` times; `marker` is a file that counts, one byte a call."""

    marker: str
    failures: Annotated[int, Meta(ge=0)] = 1
    crash: bool = False


@pipeline("flaky", deadline=10)
def flaky(run: Run, params: Flaky) -> dict[str, Any]:
    """Fail at first, in a way that may pass (or by crashing), and then work."""
    with Path(params.marker).open("ab") as marker:
        marker.write(b".")
    calls = Path(params.marker).stat().st_size
    if calls <= params.failures:
        if params.crash:
            os.kill(os.getpid(), signal.SIGSEGV)
        raise Failure("flaky", f"This was call {calls}.", retryable=True)
    return {"calls": calls}


class Away(Params, frozen=True):
    """`down` is a file: while it is there, the outside help of the pipeline is away."""

    down: str


@pipeline("away", deadline=10)
def away(run: Run, params: Away) -> dict[str, Any]:
    """Needs help from outside."""
    if Path(params.down).exists():
        raise Failure("dependency_unavailable", "The model does not answer.")
    return {"helped": True}


class Echo(Params, frozen=True):
    """Whatever is to come back."""

    text: str = ""
    number: float = 0


@pipeline("echo", max_inputs=16, deadline=60)
def echo(run: Run, params: Echo) -> dict[str, Any]:
    """Give back the params, and the first input as it came."""
    for number, image in enumerate(run.inputs):
        name = f"echo-{number}.{image.media_type.rpartition('/')[2]}"
        run.output(name, image.path.read_bytes(), media_type=image.media_type)
    return {"text": params.text, "number": params.number, "inputs": len(run.inputs), "pid": os.getpid()}


class Gate(Params, frozen=True):
    """The file that is waited for."""

    file: str


@pipeline("gate", stages=[Stage("before", 1), Stage("after", 1)], deadline=600)
def gate(run: Run, params: Gate) -> dict[str, Any]:
    """Report two things at once, the second too early to be sent at once; then wait for a file."""
    with run.stage("before"):
        run.progress(0.5, "first")
        run.progress(0.6, "second")
        while not Path(params.file).exists():
            time.sleep(0.01)
    with run.stage("after"):
        return {"pid": os.getpid()}


@pipeline("mirror")
def mirror(run: Run) -> dict[str, Any]:
    """Tell what the process can see of the world, and what it may do."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "environ": dict(os.environ),
        "folder": os.getcwd(),
        "temporary": tempfile.gettempdir(),
        "workdir": str(run.workdir),
        "descriptors": sorted(open_descriptors().values()),
        "no_new_privs": status["NoNewPrivs"].strip(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "isolated": sys.flags.isolated,
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "session": os.getsid(0),
    }


def open_descriptors() -> dict[int, str]:
    """What this process has open: number and target."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that the listing itself used
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


# Those that die


@pipeline("hostile-segfault")
def segfault(run: Run) -> None:
    """Read address zero."""
    ctypes.string_at(0)


@pipeline("hostile-exit")
def exit_(run: Run) -> None:
    """Leave without a word."""
    os._exit(3)


@pipeline("hostile-abort")
def abort(run: Run) -> None:
    """Die as C++ does when `new` fails."""
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


# Those that do not end


@pipeline("hostile-loop", deadline=600)
def loop(run: Run) -> None:
    """Compute for ever."""
    run.progress(0.1, str(os.getpid()))
    while True:
        pass


@pipeline("hostile-stubborn", deadline=600)
def stubborn(run: Run) -> None:
    """Compute for ever, and swallow whatever is raised to stop it."""
    while True:
        try:
            while True:
                pass
        except BaseException:  # that is the point
            continue


@pipeline("hostile-stuck", deadline=600)
def stuck(run: Run) -> None:
    """Sit in C with every signal blocked."""
    run.progress(0.1, str(os.getpid()))
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter's lock, as much native code does


# Those that take too much


@pipeline("hostile-memory", memory=128 * MiB)
def memory(run: Run) -> None:
    """Allocate without end."""
    kept = []
    while True:
        kept.append(np.ones(8 * MiB, dtype=np.uint8))


@pipeline("hostile-hoard", memory=2048 * MiB)
def hoard(run: Run) -> dict[str, Any]:
    """Keep what it has allocated."""
    HOARD.append(np.ones(300 * MiB, dtype=np.uint8))
    return {"pid": os.getpid()}


HOARD: list[Any] = []


@pipeline("hostile-file", deadline=60)
def file(run: Run) -> None:
    """Write without end."""
    with (run.workdir / "big").open("wb") as big:
        while True:
            big.write(bytes(MiB))


@pipeline("hostile-result")
def result(run: Run) -> dict[str, Any]:
    """Answer with more than 64 KiB."""
    return {"text": "x" * 70_000}


@pipeline("hostile-nul")
def nul(run: Run) -> dict[str, Any]:
    """Answer with a character that Postgres cannot store."""
    return {"text": "a\0b"}


# Those that talk too much, or wrongly


@pipeline("hostile-print")
def print_(run: Run) -> dict[str, Any]:
    """Print to standard output, in every way there is."""
    print("garbage" * 100_000, flush=True)
    os.write(1, b"\xff\xff\xff\xff more garbage")
    subprocess.run([sys.executable, "-c", "print('garbage')"], check=True)
    return {"stdin": sys.stdin.read()}


@pipeline("hostile-flood")
def flood(run: Run) -> dict[str, Any]:
    """Report progress thousands of times."""
    for step in range(20_000):
        run.progress(step / 20_000, f"step {step}")
    run.progress(0.99999, "the last")
    return {}


class Garbage(Params, frozen=True):
    """What to write where only messages belong."""

    kind: Literal["huge", "noise", "flood", "close", "ready", "nan"] = "noise"


@pipeline("hostile-garbage")
def garbage(run: Run, params: Garbage) -> None:
    """Write to the channel behind the child's back."""
    channel = _channel()
    if params.kind == "close":
        # An end that is shut, and not only one of its descriptors.
        socket.socket(fileno=channel).shutdown(socket.SHUT_RDWR)
    frames = {
        "huge": b"\xff\xff\xff\xff",
        "noise": b"\0\0\0\x08" + os.urandom(8),
        "flood": protocol.encode(protocol.Progress(1.0, "", "")) * 2000,
        "ready": protocol.encode(protocol.Ready([], "")),
        "nan": protocol.encode(protocol.Progress(float("nan"), "", "")),
        "close": b"",
    }
    rest = frames[params.kind]
    while rest:
        rest = rest[os.write(channel, rest) :]
    time.sleep(600)


def _channel() -> int:
    """The descriptor of the channel: the only socket beside standard output and error."""
    for number, target in open_descriptors().items():
        if number > 2 and target.startswith("socket:"):
            return number
    raise LookupError("no channel")


# Those that leave something behind


class Fork(Params, frozen=True):
    """Where to write the numbers of the processes that stay, and what happens then."""

    pids: str
    then: Literal["return", "die", "hang"] = "return"


@pipeline("hostile-fork", deadline=600)
def fork(run: Run, params: Fork) -> dict[str, Any]:
    """Start processes that want to outlive the run: one in the group, one that left it, a daemon."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    pids = [
        subprocess.Popen(sleep).pid,
        subprocess.Popen(sleep, start_new_session=True).pid,
        _daemon(),
    ]
    part = Path(params.pids + ".part")
    part.write_text(" ".join(map(str, pids)))
    part.rename(params.pids)
    if params.then == "die":
        os._exit(3)
    if params.then == "hang":
        time.sleep(600)
    return {}


def _daemon() -> int:
    """A process whose parent has gone: forked twice, in a session of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (pid := os.fork()) != 0:
            os.write(write, str(pid).encode())
            os._exit(0)
        time.sleep(600)
        os._exit(0)
    return int(os.read(read, 20))


@pipeline("hostile-thread")
def thread(run: Run) -> dict[str, Any]:
    """Leave a thread behind that reports on whatever comes next."""

    def report() -> None:
        for step in range(1000):
            run.progress(step / 1000, "from the past")
            time.sleep(0.01)

    threading.Thread(target=report, daemon=True).start()
    return {"pid": os.getpid()}


class Link(Params, frozen=True):
    """What the output really is."""

    kind: Literal["symlink", "swapped", "folder", "pipe", "outside", "html", "type"] = "swapped"


@pipeline("hostile-symlink")
def symlink(run: Run, params: Link) -> None:
    """Answer with an output that is not what it says. Our own code in the child is gone around."""
    path = run.workdir / "out.file.txt"
    if params.kind == "symlink":
        path.symlink_to("/etc/passwd")
        run.output("file.txt", path)
    elif params.kind == "swapped":
        run.output("file.txt", b"harmless")
        path.unlink()
        path.symlink_to("/etc/passwd")
    elif params.kind == "folder":
        (run.workdir / "etc").symlink_to("/etc")
        run.outputs.append(Output("file.txt", run.workdir / "etc" / "passwd", "text/plain"))
    elif params.kind == "pipe":
        os.mkfifo(path)
        run.outputs.append(Output("file.txt", path, "text/plain"))
    elif params.kind == "outside":
        run.outputs.append(Output("file.txt", Path("/etc/passwd"), "text/plain"))
    elif params.kind == "html":
        path.write_text("<script>alert(1)</script>")
        run.outputs.append(Output("file.html", path, "text/html"))
    else:
        path.write_text("<script>alert(1)</script>")
        run.outputs.append(Output("file.jpg", path, "image/jpeg", 1, 1))


@pipeline("hostile-raise")
def raises(run: Run) -> None:
    """Raise something whose text a customer must not see."""
    raise RuntimeError("secret at /srv/secret/path")


MODULES = ",".join(
    f"support.hostile:{name}" for name, value in globals().copy().items() if isinstance(value, Pipeline)
)


def environ(modules: str = MODULES) -> dict[str, str]:
    """The environment in which a processor finds these pipelines."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "SAFELIGHT_PIPELINE_MODULES": modules,
    }
