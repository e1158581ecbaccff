"""Batches: jobs that were submitted together, as one object with one end.

Called by the API (create, get) and by whoever ended a job (end): nothing is counted along, the tables
tell. The end is found after the commit that ended a job, by whom it concerns, and by maintenance where
somebody died in between; `ended_at` is set once, and who sets it tells of it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.errors import Failure

_SQL = load("safelight.jobs")


class BatchKey(NamedTuple):
    """A batch is always named together with its tenant."""

    tenant: int
    id: UUID


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it is now; `progress` is 0 to 100, weighted by megapixels."""

    key: BatchKey
    size: int
    created_at: datetime
    ended_at: datetime | None
    round: int
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    progress: float


class Batches:
    """The batches of everybody."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, key: BatchKey, size: int) -> None:
        """A batch that will have so many jobs; saying so twice makes one.

        Raises:
            Failure: `id_taken` when there is one of another size.
        """
        rows = await self._rows("create_batch", *key, size)
        if not rows or rows[0]["size"] != size:
            raise Failure("id_taken", "This batch id was used for another batch.")

    async def get(self, key: BatchKey) -> Batch | None:
        """The batch, or None when there is no such batch for this tenant."""
        rows = await self._rows("get_batch", *key)
        if not rows:
            return None
        row = dict(rows[0])
        return Batch(key=BatchKey(row.pop("tenant_id"), row.pop("id")), **row)

    async def end(self, keys: Iterable[BatchKey]) -> Sequence[BatchKey]:
        """Ends those of the batches of which every job has ended; answers them, each to one caller only."""
        wanted = list(keys)
        rows = await self._rows("end_batches", [key.tenant for key in wanted], [key.id for key in wanted])
        return [BatchKey(row["tenant_id"], row["id"]) for row in rows]

    async def open(
        self, most: int, after: tuple[datetime, UUID] | None = None
    ) -> tuple[Sequence[BatchKey], tuple[datetime, UUID] | None]:
        """Batches that have not ended and of which nothing is left to run, and where to go on from.

        Args:
            most: so many of them.
            after: where the page before ended; None begins with the oldest, and is the answer after the last.
        """
        rows = await self._rows("open_batches", most, *(after or (None, None)))
        place = (rows[-1]["created_at"], rows[-1]["id"]) if len(rows) == most else None
        return [BatchKey(row["tenant_id"], row["id"]) for row in rows], place

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)
