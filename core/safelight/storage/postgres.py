"""Bytes in Postgres: chunks in short transactions, and a row, written last, that makes them a blob.

The tables and why there are three are told in db/migrations/0002_blobs.sql. Next: sql/*.sql, one file a step.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import structlog

from safelight.db.pool import OUTAGES
from safelight.db.statements import load
from safelight.errors import Failure
from safelight.storage.store import Found, Stored, check_key, check_prefix, pieces, span

_SQL = load("safelight.storage")
_log = structlog.get_logger()

# Measured (64 MiB, fsync on, one writer, median of 3): 64 KiB 82 MB/s, 256 KiB 134, 512 KiB 135, 1 MiB 140,
# 2 MiB 130; above 256 KiB the difference is noise, but reads still gain, and every transfer holds some.
CHUNK = 512 * 1024
_SWEEP = 64  # chunks removed by one statement
_PRUNE = 100  # puts given up by one statement
_TRIES = 5

_OUTAGES: tuple[type[BaseException], ...] = (
    *OUTAGES,
    asyncpg.InsufficientResourcesError,  # the disk is full, among others
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,  # a failover is under way
    asyncpg.PostgresSystemError,
    asyncpg.PostgresIOError,
)


class PostgresStore:
    """See `Store`. Any number of processes may use the same database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._cleaning: set[asyncio.Task[None]] = set()

    async def put(self, tenant: int, key: str, chunks: AsyncIterable[bytes]) -> Stored:
        """See `Store.put`."""
        check_key(key)
        put_id = uuid4()
        try:
            stored = await self._write(tenant, put_id, chunks)
            await self._finish(tenant, key, put_id, stored)
        except BaseException:
            await self._to_the_end(self._give_up(tenant, key, put_id))
            raise
        return stored

    async def read(
        self, tenant: int, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `Store.read`."""
        blob = await self._find(tenant, key)
        if blob is None:
            raise Failure("bytes_missing")
        size = blob["chunk_bytes"]
        start, end = span(blob["bytes"], start, end)
        while start < end:
            n, offset = divmod(start, size)
            length = min(size - offset, end - start)
            rows = await self._rows("read_chunk", tenant, blob["put_id"], n, offset, length)
            if not rows or len(rows[0][0]) != length:
                raise Failure("bytes_missing")  # deleted or replaced while it was read
            yield rows[0][0]
            start += length

    async def size(self, tenant: int, key: str) -> int | None:
        """See `Store.size`."""
        blob = await self._find(tenant, key)
        return blob["bytes"] if blob else None

    async def delete(self, tenant: int, prefix: str) -> int:
        """See `Store.delete`. The keys go at once; should the process die then, `prune` takes the bytes."""
        rows = await self._rows("delete_blobs", tenant, check_prefix(prefix))
        for row in rows:
            await self._sweep(tenant, row["put_id"])
        return len(rows)

    async def list(self, after: tuple[int, str], limit: int) -> Sequence[Found]:
        """See `Store.list`."""
        rows = await self._rows("list_blobs", *after, limit)
        return [
            Found(tenant=row["tenant_id"], key=row["key"], bytes=row["bytes"], age=row["age"]) for row in rows
        ]

    async def prune(self, older_than_seconds: float) -> int:
        """See `Store.prune`."""
        pruned = 0
        while rows := await self._rows("abandon_old", older_than_seconds, _PRUNE):
            for row in rows:
                await self._sweep(row["tenant_id"], row["put_id"])
            pruned += len(rows)
        return pruned

    async def close(self) -> None:
        """See `Store.close`. The pool belongs to the caller."""
        while self._cleaning:
            await asyncio.wait(self._cleaning)

    # The steps of a put

    async def _write(self, tenant: int, put_id: UUID, chunks: AsyncIterable[bytes]) -> Stored:
        digest, total = hashlib.sha256(), 0
        await self._rows("begin_put", tenant, put_id)
        async with aclosing(pieces(chunks, CHUNK)) as cut:
            n = 0
            async for piece in cut:
                digest.update(piece)
                total += len(piece)
                if not await self._rows("put_chunk", tenant, put_id, n, piece):
                    raise _given_up()
                n += 1
        return Stored(bytes=total, sha256=digest.digest())

    async def _finish(self, tenant: int, key: str, put_id: UUID, stored: Stored) -> None:
        arguments = (tenant, put_id, key, stored.bytes, CHUNK, stored.sha256)
        for _ in range(_TRIES):
            try:
                if not await self._rows("finish_put", *arguments):
                    raise _given_up()
                return
            except asyncpg.UniqueViolationError:
                # No row means that the blob was deleted at this very moment: the key is free again.
                for row in await self._rows("replace_blob", *arguments):
                    await self._sweep(tenant, row["put_id"])
                    return
        raise Failure("storage_unavailable")

    async def _give_up(self, tenant: int, key: str, put_id: UUID) -> None:
        try:
            await self._rows("abandon_put", tenant, put_id)
            await self._rows("withdraw_put", tenant, key, put_id)
            await self._sweep(tenant, put_id)
        except Failure as failure:
            # The database is away, which is perhaps why the put failed.
            _log.info("put.left_to_prune", put=str(put_id), code=failure.code)

    async def _sweep(self, tenant: int, put_id: UUID) -> None:
        while (await self._rows("sweep_chunks", tenant, put_id, _SWEEP))[0][0] == _SWEEP:
            pass
        await self._rows("forget_put", tenant, put_id)

    # Underneath

    async def _find(self, tenant: int, key: str) -> asyncpg.Record | None:
        rows = await self._rows("find_blob", tenant, check_key(key))
        return rows[0] if rows else None

    async def _rows(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        async with _outages():
            return await self._pool.fetch(_SQL[statement], *arguments)

    async def _to_the_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Waits for `work`, which goes on when the waiting itself is canceled; `close` waits for it then."""
        task = asyncio.create_task(work)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        await asyncio.shield(task)


def _given_up() -> Failure:
    return Failure("storage_unavailable", "The upload took so long that its bytes were pruned; try again.")


@asynccontextmanager
async def _outages() -> AsyncIterator[None]:
    try:
        yield
    except _OUTAGES as error:
        raise Failure("storage_unavailable") from error
