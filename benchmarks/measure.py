"""Measuring: interleaved rounds, medians, percentiles, the CPU and memory of process trees, figures.

Every area uses it; run.py prints what it makes. A figure is always a ratio of two medians that were
taken in turns in the same run, as the speed of a machine changes within minutes.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
_TICK = os.sysconf("SC_CLK_TCK")
_NEVER_ZERO = 1e-9
_RESULT = b"result "

Numbers = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    scale: float  # of counts and durations
    full: bool = False  # everything that an area knows, not what there is time for among the others

    def count(self, usual: int) -> int:
        """A number of things, scaled."""
        return max(1, round(usual * self.scale))


@dataclass(frozen=True)
class Figure:
    """Ours against theirs. `more` says which direction is good; the goal is a bound of the ratio."""

    name: str
    ours: float
    theirs: float
    yardstick: str
    goal: float
    better: Literal["more", "less"] = "more"

    @property
    def ratio(self) -> float:
        """Ours in units of theirs."""
        return self.ours / max(self.theirs, _NEVER_ZERO)

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio >= self.goal if self.better == "more" else self.ratio <= self.goal

    def line(self) -> str:
        """The last word on it."""
        sign = ">=" if self.better == "more" else "<="
        verdict = "met" if self.met else "short"
        return (
            f"figure {self.name} {self.ratio:.2f} x of {self.yardstick}, goal {sign} {self.goal:g}: {verdict}"
        )

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "name": self.name,
            "ratio": round(self.ratio, 4),
            "ours": self.ours,
            "theirs": self.theirs,
            "yardstick": self.yardstick,
            "goal": self.goal,
            "better": self.better,
            "met": self.met,
        }


@dataclass(frozen=True)
class Table:
    """Absolute numbers: medians of the rounds."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """As Markdown, which is readable on a terminal too."""
        cells = [list(self.columns), *[list(row) for row in self.rows]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "| "
            + " | ".join(
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            + " |"
            for row in cells
        ]
        rule = (
            "|"
            + "|".join("-" * (width + 1) + ("-" if not at else ":") for at, width in enumerate(widths))
            + "|"
        )
        return "\n".join([f"{self.title}", "", lines[0], rule, *lines[1:]])


@dataclass
class Area:
    """What an area has found."""

    name: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Case = Callable[[], Awaitable[Numbers]]


async def rounds(cases: Mapping[str, Case], count: int) -> dict[str, Numbers]:
    """Runs every case `count` times, in turns, each round beginning with another; answers medians.

    `spread` of each is (max - min) / median of its first number, the honest measure of the noise.
    """
    found: dict[str, list[Numbers]] = {name: [] for name in cases}
    names = list(cases)
    for turn in range(count):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            began = time.monotonic()
            try:
                numbers = await cases[name]()
            except Exception as error:
                # One turn that went wrong on a busy machine must not cost the others.
                say(f"  {turn + 1}/{count} {name} failed: {error!r}")
                continue
            found[name].append(numbers)
            shown = " ".join(f"{key} {value:,.4g}" for key, value in numbers.items())
            say(f"  {turn + 1}/{count} {name}: {shown} ({time.monotonic() - began:.1f} s)")
    if never := [name for name, runs in found.items() if not runs]:
        raise ProgramError(f"{', '.join(never)} could not be measured.")
    return {name: _median(runs) for name, runs in found.items()}


def _median(runs: Sequence[Numbers]) -> Numbers:
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    first = next(iter(runs[0]))
    values = [run[first] for run in runs]
    return {**middle, "spread": (max(values) - min(values)) / max(middle[first], _NEVER_ZERO)}


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def say(text: str) -> None:
    """A line for the person who waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


# ---- process trees, from /proc


def tree(pid: int) -> list[int]:
    """A process and all its descendants that live."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def cpu(*pids: int) -> float:
    """CPU seconds of these process trees so far, with what their descendants that ended had used."""
    total = 0
    for pid in pids:
        for one in tree(pid):
            if stat := _stat(one):
                total += sum(int(value) for value in stat[11:15])  # own and reaped, user and system
    return total / _TICK


def memory(pid: int, name: Literal["VmRSS", "VmHWM"] = "VmRSS") -> float:
    """MiB of a tree's resident memory, now or at its highest since `forget_peak`."""
    total = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
    return total / 1024


def forget_peak(pid: int) -> None:
    """Makes VmHWM of a tree begin anew."""
    for one in tree(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


# ---- programs: what runs as a process of its own


class ProgramError(Exception):
    """A program of ours, or of a rival, did not do what it should."""


async def program(name: str, *arguments: object, seconds: float = 120.0) -> dict[str, Any]:
    """Runs programs/NAME.py to its end; answers its result. It dies when this is canceled."""
    process = await start(name, *arguments)
    return await result(process, name, seconds)


async def start(name: str, *arguments: object) -> asyncio.subprocess.Process:
    """Starts programs/NAME.py."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "programs" / f"{name}.py"),
        *[str(argument) for argument in arguments],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent / 'tests'}"},
    )


async def result(process: asyncio.subprocess.Process, name: str, seconds: float = 120.0) -> dict[str, Any]:
    """The JSON of the line in which a program says its result; other lines are its log.

    Its standard input is closed, which tells some that it is time to come to an end.
    """
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(seconds):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    answers = [text[len(_RESULT) :] for text in out.splitlines() if text.startswith(_RESULT)]
    if process.returncode or not answers:
        said = (out + errors).decode()[-3000:]
        raise ProgramError(f"{name} ended with {process.returncode}:\n{said}")
    answer: dict[str, Any] = json.loads(answers[-1])
    return answer


async def line(process: asyncio.subprocess.Process, name: str, seconds: float = 30.0) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        said = (await process.stdout.readline()).decode().strip()
    if not said:
        await result(process, name, 5.0)
        raise ProgramError(f"{name} said nothing.")
    return said
