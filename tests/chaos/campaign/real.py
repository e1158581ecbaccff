"""The real processor, sandbox and all, with real images, on a disk that takes no more.

Called by `faults`. No file of the processor may grow beyond a quarter of a megabyte while the disk is
"full": a limit of the kernel's, which needs no file system of our own and no root, and meets the images,
which are larger.
"""

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Final

from chaos.campaign.producer import ATTEMPTS
from chaos.campaign.stage import Stage
from safelight.jobs.job import NewJob, StoredFile
from safelight.storage.files import FileStore
from safelight.wire.uuid7 import uuid7
from support.images import png
from support.jobs import new_job

_ROOM: Final = 256 * 1024  # bytes of a file
_WIDTH, _HEIGHT = 800, 600
_TENANT = 1
_HANDED_BACK = """
select count(*) from attempt join job on job.tenant_id = attempt.tenant_id and job.id = attempt.job_id
where pipeline = 'transform' and reason = 'released'
"""
_LEFT = "select count(*) from ready where pipeline = 'transform'"


class Images:
    """Jobs on real images, for the processor that has no room for them."""

    def __init__(self, stage: Stage, count: int) -> None:
        self.count = count
        self.handed_back = 0
        self._before = 0
        self._stage = stage
        self._store = FileStore(stage.store)
        self._limits = resource.prlimit(stage.real.pid, resource.RLIMIT_FSIZE)

    def fill_disk(self) -> None:
        """It takes no more."""
        resource.prlimit(self._stage.real.pid, resource.RLIMIT_FSIZE, (_ROOM, self._limits[1]))

    def make_room(self) -> None:
        """It does again."""
        resource.prlimit(self._stage.real.pid, resource.RLIMIT_FSIZE, self._limits)

    async def submit(self) -> None:
        """All of them."""
        self._before = await self._stage.watch.count(_HANDED_BACK)
        for _ in range(self.count):
            await self._stage.submit(await self._job())

    async def until_handed_back(self) -> None:
        """The processor has given back as many runs as there are images."""
        async with asyncio.timeout(30):
            while self.handed_back < self.count:
                await asyncio.sleep(0.05)
                self.handed_back = await self._stage.watch.count(_HANDED_BACK) - self._before

    async def until_ended(self) -> None:
        """All of them have."""
        async with asyncio.timeout(60):
            while await self._stage.watch.count(_LEFT):
                await asyncio.sleep(0.05)
        self.handed_back = await self._stage.watch.count(_HANDED_BACK) - self._before

    async def _job(self) -> NewJob:
        """A new one, its image stored already."""
        job, image = uuid7(), _image()
        file = StoredFile(
            name="a.png",
            key=f"{job}/in/0",
            media_type="image/png",
            bytes=len(image),
            width=_WIDTH,
            height=_HEIGHT,
            sha256=hashlib.sha256(image).hexdigest(),
        )
        await self._store.put(_TENANT, file.key, _chunks(image))
        return new_job(
            id=job,
            named=True,
            pipeline="transform",
            params='{"width": 64}',
            inputs=[file],
            max_attempts=ATTEMPTS,
        )


async def _chunks(image: bytes) -> AsyncIterator[bytes]:
    yield image


@lru_cache
def _image() -> bytes:
    image = png(_WIDTH, _HEIGHT)
    assert len(image) > _ROOM
    return image
