"""The processors that live, and how long their runs take: what a forecast stands on.

A processor keeps its last runs in `Paces` and says every few seconds, with `Workers.see`, that it lives;
the API reads all of them with `Workers.seen`. What a forecast makes of it: eta.py.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from safelight.db.pool import outages
from safelight.db.statements import load
from safelight.jobs.eta import Pace
from safelight.wire.key import JobKey

_SQL = load("safelight.jobs")
_KEPT: Final = 200  # runs of each kind
_SILENT: Final = 30.0  # seconds after which a processor does not count any more
_FORGOTTEN: Final = 300.0
_MOST: Final = 1000  # jobs that are counted before one

# pipeline -> size class -> what its runs take
Table = dict[str, dict[int, Pace]]
_table = msgspec.json.Decoder(Table).decode


class Paces:
    """How long the last runs of this process took."""

    def __init__(self) -> None:
        self._runs: defaultdict[tuple[str, int], deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def note(self, pipeline: str, size: int, seconds: float) -> None:
        """A run has succeeded; `size` is its size class."""
        self._runs[pipeline, size].append(seconds)

    def table(self) -> Table:
        """Half took less than p50, nine of ten less than p90."""
        table: Table = {}
        for (pipeline, size), runs in self._runs.items():
            ordered = sorted(runs)
            p50, p90 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9))
            table.setdefault(pipeline, {})[size] = Pace(p50, p90)
        return table


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A processor, as it described itself."""

    id: UUID
    slots: int
    pipelines: list[str]
    paces: Table


class Workers:
    """All of them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def see(self, worker: UUID, slots: int, pipelines: Sequence[str], paces: Table) -> None:
        """A processor lives."""
        text = msgspec.json.encode(paces).decode()
        await self._rows("see_worker", worker, slots, list(pipelines), text, _FORGOTTEN)

    async def leave(self, worker: UUID) -> None:
        """A processor is going."""
        await self._rows("leave_worker", worker)

    async def seen(self) -> Sequence[Worker]:
        """Those that live."""
        return [
            Worker(id=row["id"], slots=row["slots"], pipelines=row["pipelines"], paces=_table(row["paces"]))
            for row in await self._rows("workers", _SILENT)
        ]

    async def position(self, key: JobKey) -> int | None:
        """How many jobs are before one that waits for its turn, counted up to a thousand."""
        rows = await self._rows("position", *key, _MOST)
        return rows[0]["position"] if rows else None

    async def _rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with outages():
            return await self._pool.fetch(_SQL[statement], *arguments)
