"""The cursor: how far a watcher has come. Pure.

One cursor serves all transports: it is the ETag of a job, the `after` of a long-poll and of a socket.
"""

import re
from typing import NamedTuple, Self

from safelight.errors import Failure

# How far a watcher may be ahead, within a run, of what Postgres knows. Progress has twenty versions a second
# at most, and Postgres hears of it with every heartbeat, so this is minutes more than can happen.
MOST_AHEAD = 10_000
_FORM = re.compile(r"(\d{1,9}):(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)


class Cursor(NamedTuple):
    """`epoch:seq.n`, ordered from left to right.

    `epoch` is the job's incarnation, `seq` its last durable event, `n` the version of the progress
    within the run that this event began. A new run is a new event, so the three order everything a
    watcher can see.
    """

    epoch: int
    seq: int
    n: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cursor that `str` wrote.

        Raises:
            Failure: `cursor_invalid`.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise Failure("cursor_invalid")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}" + (f".{self.n}" if self.n else "")

    def is_beyond(self, known: "Cursor") -> bool:
        """Whether nobody can have been told this, when `known` is the truth."""
        return self.durable > known.durable or (
            self.durable == known.durable and self.n - known.n > MOST_AHEAD
        )

    @property
    def durable(self) -> "Cursor":
        """The same place without the progress: what a replay starts from."""
        return Cursor(self.epoch, self.seq)
