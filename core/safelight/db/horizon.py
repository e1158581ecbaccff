"""The horizon: how far back the oldest snapshot in the database reaches. Vacuum keeps everything since then.

A queue dies of that slowly: dead versions of rows pile up, and every claim walks over them. What holds
vacuum back is mostly somebody else's: a forgotten session, a long report, a replica. Called by the
processors' maintenance.
"""

from collections import deque
from typing import NamedTuple

import asyncpg

from safelight.db.pool import outages
from safelight.db.statements import load

_SQL = load("safelight.db")
_LOOKS = 3000  # remembered: more than a day of looks, one each half minute


class Horizon(NamedTuple):
    """For how long vacuum is held back (seconds, transactions), by what; and what waits for it in `ready`."""

    seconds: float
    transactions: int
    holder: str | None
    dead_tuples: int


class Ages:
    """When a transaction was the next one, as far as it was looked. Pure.

    How old the snapshot of somebody else is in seconds, an ordinary user is not told; in transactions it is.
    So every look notes which transaction was the next: the snapshot is at least as old as the first look
    that was beyond it.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)

    def seconds(self, now: float, upcoming: int, age: int) -> float:
        """Notes a look; answers the least age in seconds of what is `age` transactions behind the next."""
        self._looks.append((now, upcoming))
        oldest = upcoming - age
        return next((now - then for then, next_one in self._looks if next_one > oldest), 0.0)


class Watch:
    """Looks every so often, and remembers its looks."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._ages = Ages()

    async def look(self) -> Horizon:
        """What holds back vacuum now."""
        async with outages():
            row = await self._pool.fetchrow(_SQL["horizon"])
        assert row is not None
        seen = self._ages.seconds(row["at"].timestamp(), row["next_transaction"], row["transactions"])
        return Horizon(
            seconds=max(seen, row["seconds"] or 0.0),
            transactions=row["transactions"],
            holder=row["kind"] and f"{row['kind']} {row['who']}",
            dead_tuples=row["dead_tuples"],
        )
