"""Limits and pauses: what a tenant or a pipeline may have, and work that is stopped for a while.

Called by the command line and the API, and by the processor when a pipeline says that its outside help is
away. A job whose tenant or pipeline has a gate is held when it is
enqueued; `JobQueue.admit` lets it in. How: db/migrations/0005_admit.sql.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.errors import Failure
from safelight.jobs.lanes import PRIORITIES
from safelight.jobs.queue import JobQueue

_SQL = load("safelight.jobs")
_RANGES = "Out of range: a limit is 1 or more, a weight 1 to 1000, a highest priority 0 to 3."
_TENANT, _PIPELINE = 5381924, 5381925  # kinds of gates; `enqueue` has the same
_CHUNK = 5000  # jobs held or admitted in one statement


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Work that is stopped: of a tenant or of a pipeline, until it expires or is resumed."""

    id: int
    tenant: str | None
    pipeline: str | None
    owner: str
    reason: str
    created_at: datetime
    expires_at: datetime | None


class Gates:
    """The limits and pauses of everybody."""

    def __init__(self, pool: asyncpg.Pool, queue: JobQueue) -> None:
        self._pool = pool
        self._queue = queue

    async def limit_tenant(
        self,
        name: str,
        *,
        weight: int = 1,
        max_priority: int = PRIORITIES[-1],
        max_running: int | None = None,
        max_queued: int | None = None,
    ) -> None:
        """Sets all that a tenant may have; None is no limit.

        Raises:
            Failure: `bad_request` when there is no such tenant, or a number is out of range.
        """
        tenant = await self._tenant(name)
        await self._set(
            _TENANT, tenant, "limit_tenant", tenant, weight, max_priority, max_running, max_queued
        )
        if max_running is not None:
            await self._hold("hold_tenant", tenant)
        await self._admit_all()

    async def limit_pipeline(
        self, name: str, *, max_running: int | None = None, max_queued: int | None = None
    ) -> None:
        """Sets all that a pipeline may have; None is no limit.

        Raises:
            Failure: `pipeline_unknown`; `bad_request` when a number is out of range.
        """
        gate = await self._value("name_gate", name)
        if await self._set(_PIPELINE, gate, "limit_pipeline", name, max_running, max_queued) is None:
            raise Failure("pipeline_unknown", f"No processor has ever offered {name}.")
        if max_running is not None:
            await self._hold("hold_pipeline", name)
        await self._admit_all()

    async def pause_tenant(self, name: str, owner: str, reason: str, seconds: float | None) -> None:
        """Nothing more of a tenant begins, for so many seconds or until `resume_tenant`."""
        tenant = await self._tenant(name)
        await self._set(_TENANT, tenant, "pause_tenant", tenant, owner, reason, seconds)
        await self._hold("hold_tenant", tenant)
        await self._hold("hold_admitted", tenant)

    async def pause_pipeline(self, name: str, owner: str, reason: str, seconds: float | None) -> None:
        """Nothing more of a pipeline begins; claims pass over it."""
        await self._value("pause_pipeline", name, owner, reason, seconds)

    async def park(self, pipeline: str, reason: str) -> None:
        """What a pipeline depends on is away: a pause of 5 s, twice as long each time that it still is."""
        await self._value("park", pipeline, reason)

    async def resume_tenant(self, name: str) -> bool:
        """Whether the tenant was paused; what waits may begin."""
        found = await self._value("resume", await self._tenant(name), None)
        await self._admit_all()
        return found is not None

    async def resume_pipeline(self, name: str) -> bool:
        """Whether the pipeline was paused."""
        return await self._value("resume", None, name) is not None

    async def pauses(self) -> Sequence[Pause]:
        """What is paused now, the oldest first."""
        async with outages():
            return [Pause(**row) for row in await self._pool.fetch(_SQL["pauses"])]

    async def _admit_all(self) -> None:
        while await self._queue.admit(_CHUNK):
            pass

    async def _tenant(self, name: str) -> int:
        tenant = await self._value("find_tenant", name)
        if tenant is None:
            raise Failure("bad_request", f"There is no tenant {name}.")
        return int(tenant)

    async def _hold(self, statement: str, subject: int | str) -> None:
        async with outages():
            while await self._pool.fetch(_SQL[statement], subject, _CHUNK):
                pass

    async def _set(self, kind: int, gate: int, statement: str, *arguments: Any) -> Any:
        try:
            async with outages(), self._pool.acquire() as connection, connection.transaction():
                await connection.fetch(_SQL["lock_gate"], kind, gate)
                return await connection.fetchval(_SQL[statement], *arguments)
        except asyncpg.CheckViolationError as error:
            raise Failure("bad_request", _RANGES) from error

    async def _value(self, statement: str, *arguments: Any) -> Any:
        async with outages():
            return await self._pool.fetchval(_SQL[statement], *arguments)
