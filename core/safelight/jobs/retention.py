"""Retention: jobs that ended long ago are forgotten, and history leaves by the day.

Called by the processors' maintenance, any number of them at once. Ends are gone through by their time, each
once; where to go on from is kept by the caller, and who begins anew finds everything again. The order is
what makes it safe to die at any point:

    prune      one commit: the job's rows go, its id is remembered, its bytes are written down as debris
    debris     the caller deletes the bytes, and clears the debris after that
    drop_days  a day of which every end was gone through leaves `done`; what is still needed of it goes back;
               it is dropped

Tables and functions: db/migrations/0006_retention.sql. Bytes that no job refers to: orphans.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import structlog

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.errors import Failure

DAYS_AHEAD = 7
_SQL = load("safelight.jobs")
_log = structlog.get_logger()


class Place(NamedTuple):
    """An end, as far as the order of ends needs it."""

    finished_at: datetime
    tenant: int
    id: UUID
    epoch: int


class Debris(NamedTuple):
    """What is left of a forgotten job: keys in the store, and what more keys lie under."""

    id: int
    tenant: int
    keys: Sequence[str]


class Page(NamedTuple):
    """What came of some ends: where they end (None: there are no more), what was forgotten.

    `whole` is False when a job that is over was left, as somebody else had it at that moment.
    """

    end: Place | None
    forgotten: Sequence[Debris]
    whole: bool


def beginning(at: datetime = datetime(1970, 1, 1, tzinfo=UTC)) -> Place:
    """Before all ends of this time and later."""
    return Place(at, 0, UUID(int=0), 0)


class Retention:
    """Forgets."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def make_partitions(self) -> float:
        """Makes the days and months to come; answers for how many seconds to come history has a place."""
        await self._soon("make_days", DAYS_AHEAD)
        await self._soon("make_months")
        return float(await self._value("ahead"))

    async def cutoff(self, retention_seconds: float) -> datetime:
        """The time before which an end is old."""
        found: datetime = await self._value("cutoff", retention_seconds)
        return found

    async def prune(self, after: Place, before: datetime, *, by_row: bool, limit: int = 500) -> Page:
        """Goes through some ends and forgets jobs that are over with them.

        Args:
            after: where the page before ended.
            before: the time before which an end is old (`cutoff`).
            by_row: whether ends are deleted now, and not left to `drop_days`.
            limit: ends of a page.

        Raises:
            Failure: `unavailable`; also while `make_partitions` has not made the month that remembers.
        """
        ends = await self._rows("old_ends", *after, before, limit)
        over = [row for row in ends if row["over"]]
        tenants, ids = [row["tenant_id"] for row in over], [row["job_id"] for row in over]
        try:
            rows = await self._rows("prune", tenants, ids, before, by_row) if over else []
        except asyncpg.CheckViolationError as error:
            raise Failure("unavailable", "This month is not made yet.") from error
        left_behind = [Debris(*row.values()) for row in rows if row["id"] is not None]
        end = _place(ends[-1]) if len(ends) == limit else None
        return Page(end, left_behind, whole=len(left_behind) == len(rows))

    async def prune_batches(self, before: datetime, limit: int = 500) -> int:
        """Forgets some batches that are as old and have no job any more; answers how many."""
        return len(await self._rows("prune_batches", before, limit))

    async def debris(self, older_than_seconds: float, limit: int = 200) -> Sequence[Debris]:
        """Bytes of forgotten jobs that are still there, the oldest first."""
        return [Debris(*row.values()) for row in await self._rows("debris", older_than_seconds, limit)]

    async def clear(self, debris: Sequence[Debris]) -> None:
        """These bytes are gone."""
        await self._rows("clear_debris", [one.id for one in debris])

    async def drop_days(self, before: datetime) -> Sequence[str]:
        """Drops days that lie before a time, every end of which was gone through; answers their names.

        Where somebody reads for so long that the table cannot be had, that is left to the next time.
        """
        dropped: list[str] = []
        while True:
            for row in await self._rows("detached_days"):
                await self._keep_known(row["name"])
                if await self._soon("drop_day", row["name"]):
                    dropped.append(row["name"])
            if await self._soon("detach_day", before) is None:
                return dropped

    async def _keep_known(self, name: str) -> None:
        block: int | None = 0
        while block is not None:
            block = await self._soon("keep_known", name, block)

    async def drop_months(self, remember_seconds: float) -> Sequence[str]:
        """Drops what has been remembered for long enough; answers the names of those months."""
        dropped: list[str] = []
        while (name := await self._soon("drop_month", remember_seconds)) is not None:
            dropped.append(name)
        return dropped

    async def _soon(self, statement: str, *arguments: Any) -> Any:
        """The answer of a statement that wants a table for itself; None when it cannot have it right now."""
        try:
            return await self._value(statement, *arguments)
        except Failure as failure:
            if isinstance(failure.__cause__, asyncpg.UndefinedTableError):
                return None  # somebody else has just dropped it
            if not isinstance(failure.__cause__, asyncpg.LockNotAvailableError):
                raise
            _log.info("partition.in_use", step=statement)
            return None

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)

    async def _value(self, statement: str, *arguments: Any) -> Any:
        async with outages():
            return await self._pool.fetchval(_SQL[statement], *arguments)


def _place(row: asyncpg.Record) -> Place:
    return Place(row["finished_at"], row["tenant_id"], row["job_id"], row["epoch"])
