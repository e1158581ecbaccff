"""Orphans: bytes that no job refers to and none ever will.

Left by uploads whose job was never enqueued (the API died in between, or could not remove them), and by
runs that lost their lease and could not discard what they had stored. Called by the processors' sweep,
which asks the store what is there, and this room what of it is needed.

A key tells whose it is: `{job}/in/{upload}/{number}` is an input, `{job}/out/{lease epoch}/{name}` an
output. All other keys are somebody else's business.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

import asyncpg

from safelight.db.pool import outages
from safelight.db.statements import load

_SQL = load("safelight.jobs")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(rf"({_UUID})/(?:in/.+|out/([0-9]{{1,9}})/.+)")


class Bytes(NamedTuple):
    """A key of a job; `lease_epoch` is that of the run that stored it, None for an input."""

    tenant: int
    job: UUID
    lease_epoch: int | None
    key: str

    @classmethod
    def of(cls, tenant: int, key: str) -> Self | None:
        """Whose a key is; None when it is no job's."""
        match = _KEY.fullmatch(key)
        return match and cls(tenant, UUID(match[1]), int(match[2]) if match[2] else None, key)


class Orphans:
    """Knows what is needed, and how far the search has come: one for all processors, a turn at a time."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find(self, stored: Sequence[Bytes]) -> Sequence[Bytes]:
        """Those to which no job refers.

        They have to be old: an upload stores first and is a job later.
        """
        rows = await self._rows(
            "find_orphans",
            [one.tenant for one in stored],
            [one.job for one in stored],
            [one.lease_epoch for one in stored],
            [one.key for one in stored],
        )
        return [stored[row["n"] - 1] for row in rows]

    async def take_turn(self, seconds: float) -> tuple[int, str] | None:
        """Tenant and key after which to go on; None when somebody had a turn in the last so many seconds."""
        rows = await self._rows("take_turn", seconds)
        return (rows[0]["tenant_id"], rows[0]["key"]) if rows else None

    async def note_turn(self, tenant: int, key: str) -> None:
        """Where the next turn goes on."""
        await self._rows("note_turn", tenant, key)

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)
