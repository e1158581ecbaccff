"""What this process has told of running jobs, so that it takes no percent back. Pure.

Redis knows of progress that Postgres hears of with the next heartbeat. When Redis goes away in between, or
comes back empty, what is read is older than what was told, and somebody who asks without a cursor would see
the percent fall. `routes/jobs` asks here before every answer. It costs a look into a dictionary; a process
that has told nothing yet may still tell less than another one, until the heartbeat: for a second or two, as
that comes every second while Redis is away.
"""

from collections import OrderedDict
from typing import NamedTuple

from safelight.wire.cursor import Cursor
from safelight.wire.key import JobKey

_MOST = 4096  # jobs; an answer is about 1.5 kB


class Answer(NamedTuple):
    """An ETag, which is a cursor in quotes, and the bytes that go with it."""

    etag: str
    body: bytes

    @property
    def cursor(self) -> Cursor:
        """How far it tells."""
        return Cursor.parse(self.etag.strip('"'))


class Told:
    """The last answer about each job, as far as it told progress; the oldest are forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._answers: OrderedDict[JobKey, Answer] = OrderedDict()
        self._most = most

    def newest(self, key: JobKey, found: Answer) -> Answer:
        """What is to be told now: `found`, or what was told before, if that is further in the same run."""
        known = self._answers.get(key)
        if known is not None and known.etag == found.etag:
            return known  # most polls: nothing has happened
        now = found.cursor
        if known is not None and known.cursor.durable == now.durable and known.cursor > now:
            return known
        self._keep(key, found, now)
        return found

    def _keep(self, key: JobKey, answer: Answer, cursor: Cursor) -> None:
        if cursor.n:
            self._answers[key] = answer
            self._answers.move_to_end(key)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
        else:  # what waits or has ended is in Postgres as it was told
            self._answers.pop(key, None)
