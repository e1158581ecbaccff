"""That a processor lives, and how long its runs take -> the table of workers, every few seconds."""

from collections.abc import Callable, Sequence
from uuid import UUID

from safelight.jobs.workers import Paces, Workers


class Registrar:
    """Says it."""

    name = "registrar"
    interval = 5.0

    def __init__(
        self, workers: Workers, paces: Paces, worker: UUID, slots: int, pipelines: Callable[[], Sequence[str]]
    ) -> None:
        self._workers = workers
        self._paces = paces
        self._worker = worker
        self._slots = slots
        self._pipelines = pipelines

    async def run_once(self) -> None:
        """Once."""
        await self._workers.see(self._worker, self._slots, self._pipelines(), self._paces.table())
