"""What a watcher must be told, given how far it has come. Pure.

The same answer serves a new watcher, one that comes back with a cursor, and one that lost something.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from safelight.jobs.job import Event, Job
from safelight.wire.cursor import Cursor


class Resumed(NamedTuple):
    """How to go on: `snapshot` (from nothing), `replay` (these events), `gap` (start over, and say so)."""

    how: Literal["snapshot", "replay", "gap"]
    events: Sequence[Event] = ()
    progress: bool = False


def resume(told: Cursor | None, job: Job, events: Sequence[Event]) -> Resumed:
    """The way from `told` to the job as it is now; `events` is its timeline.

    A cursor of another incarnation, or one that is beyond the truth, cannot be continued.
    """
    if told is None:
        return Resumed("snapshot")
    if told.epoch != job.cursor.epoch or told.is_beyond(job.cursor):
        return Resumed("gap")
    missed = [event for event in events if event.cursor > told.durable]
    expected = range(told.seq + 1, job.cursor.seq + 1)
    if [event.cursor.seq for event in missed] != list(expected):
        return Resumed("gap")
    return Resumed("replay", missed, progress=job.state == "running" and job.cursor > told)
