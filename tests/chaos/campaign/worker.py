"""A processor whose jobs do nothing, in its own process: `python -m chaos.campaign.worker LEDGER-FOLDER`.

It is the real one, put together by `safelight_processor.app`: claims, leases, runs, strays, drain,
maintenance, health. Only the sandbox is left out, as a hundred thousand jobs would not wait for it, and
what it runs and ends is noted (ledger.py). `crew` starts it, kills it and starts it again.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import uvloop

from chaos.campaign.ledger import Ledger
from safelight.config import Settings
from safelight.jobs.job import Change, Ended
from safelight.telemetry import logs
from safelight_processor import app
from safelight_processor.child.ending import Ending
from safelight_processor.child.protocol import Declaration, Finished, Progress, Task
from safelight_processor.children import Counts
from safelight_processor.leases import Leases

PIPELINE = "noop"
_ledger: Ledger


class Bodies:
    """In place of `Children`: a task is run right here. Its `seconds` are how long it takes."""

    pillow = "none"

    def __init__(self, size: int, *, recycle_after: int, scratch: Path) -> None:
        self.size = size
        self.broken = asyncio.Event()

    async def start(self) -> None:
        """There is nothing to start."""

    async def close(self) -> None:
        """Nor to end."""

    async def watch(self) -> None:
        """For ever."""
        await asyncio.Event().wait()

    def declarations(self) -> list[Declaration]:
        """The one pipeline."""
        return [Declaration(PIPELINE, "1", "", "", [], b"{}", 60.0, 1, 1_000_000, 1 << 28, 100)]

    @property
    def counts(self) -> Counts:
        """For the metrics."""
        return Counts(self.size, self.size, 0, self.size, 0, 0, {})

    async def run(self, task: Task, deadline: float, on_progress: Callable[[Progress], None]) -> Ending:
        """Notes that the job ran."""
        _ledger.note("began", UUID(task.job))
        if seconds := json.loads(task.params).get("seconds", 0.0):
            await asyncio.sleep(seconds)
        return Finished([], b"{}")


class WitnessedLeases(Leases):
    """Notes which ends the queue said that it has accepted."""

    async def complete(self, ended: Ended) -> Change | None:
        """As ever."""
        change = await super().complete(ended)
        if change is not None:
            _ledger.note("accepted", ended.fence.id, ended.fence.lease_epoch)
        return change


def main() -> None:
    """Runs until it is told to stop."""
    global _ledger  # noqa: PLW0603  there is one for the whole process
    _ledger = Ledger(Path(sys.argv[1]))
    for name, ours in (("Children", Bodies), ("Leases", WitnessedLeases)):
        setattr(app, name, ours)  # in place of what it puts together
    settings = Settings.load()
    logs.configure(settings.log_level, settings.log_format, "worker")
    uvloop.run(app.run(settings))


if __name__ == "__main__":
    main()
