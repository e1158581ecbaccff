"""A queue at work: filled, drained, submitted to, served. For areas/queue.py and areas/queue_alone.py.

Everybody has the same Postgres (fsync and synchronous_commit on) and the same Redis. Every measurement has
a database of its own and an empty Redis; a queue that is drained was filled and vacuumed before.
"""

import asyncio
import json
import struct
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import queues
from ground import Ground
from measure import Numbers, ProgramError, cpu, line, percentile, program, result, start

OURS = ("safelight", "safelight_loop")
_LOOK = 0.005  # seconds between two looks at what the workers have done


@asynccontextmanager
async def place(ground: Ground, kind: str, count: int = 0) -> AsyncIterator[queues.Place]:
    """Where a queue has its tables, and so many jobs in them."""
    async with ground.fresh(empty=kind not in OURS) as dsn:
        await ground.empty_redis()
        here = queues.Place(dsn, ground.redis_url)
        await queues.load(kind).prepare(here)
        if count:
            async with queues.load(kind).producer(here) as producer:
                await producer.put_many(count)
            await ground.execute("vacuum analyze", dsn)
        yield here


async def drain(
    ground: Ground,
    kind: str,
    here: queues.Place,
    count: int,
    *,
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Numbers:
    """Empties a filled queue: from the first start of a job to the last end."""
    async with crew(kind, "drain", here, workers, options) as working:
        before = cpu(ground.postgres_pid, ground.redis_pid)
        await working.go()
        await working.until(count)
        servers = cpu(ground.postgres_pid, ground.redis_pid) - before
        told = await working.told()
    done = sum(one["jobs"] for one in told)
    assert done >= count, f"{kind} ran {done} of {count} jobs"
    seconds = max(one["last"] for one in told) - min(one["first"] for one in told if one["first"])
    return {
        "rate": count / seconds,
        "worker": sum(one["cpu"] for one in told) / count * 1e6,
        "servers": servers / count * 1e6,
    }


async def submit(ground: Ground, kind: str, mode: str, seconds: float, callers: int) -> Numbers:
    """So many callers, each with one durable call after the other; or one with a thousand jobs a call."""
    async with place(ground, kind) as here:
        before = cpu(ground.postgres_pid, ground.redis_pid)
        told = await program("queue_producer", kind, mode, *here, seconds, callers)
        servers = cpu(ground.postgres_pid, ground.redis_pid) - before
        count = told["jobs"]
        return {
            "rate": told["rate"],
            "client": told["cpu"] / count * 1e6,
            "servers": servers / count * 1e6,
        }


async def serve(
    ground: Ground,
    kind: str,
    here: queues.Place,
    seconds: float,
    per_second: float,
    *,
    options: Mapping[str, Any] | None = None,
    tenant: int | None = None,
) -> Numbers:
    """Jobs come at a steady pace: from the call that enqueues one to the start of its handler, in ms."""
    more = [] if tenant is None else [tenant]
    async with crew(kind, "serve", here, 1, options) as working:
        await working.go()
        await working.ready()
        said = await program("queue_producer", kind, "pace", *here, seconds, 1, per_second, *more)
        await working.until(said["jobs"], 20.0)
        [told] = await working.told()
    waited = told["waited"]
    return {
        "p50": percentile(waited, 0.5),
        "p95": percentile(waited, 0.95),
        "p99": percentile(waited, 0.99),
    }


class Crew:
    """Worker processes of one queue, and the file in which they count what they have done."""

    def __init__(self, processes: list[asyncio.subprocess.Process], counter: Path) -> None:
        self._processes = processes
        self._counter = counter

    async def go(self) -> None:
        """They begin, all at once."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")

    async def ready(self) -> None:
        """They wait for jobs."""
        for process in self._processes:
            assert await line(process, "queue_worker") == "ready"

    async def until(self, count: int, seconds: float = 120.0) -> None:
        """They have done so many jobs."""
        async with asyncio.timeout(seconds):
            while self._done() < count:
                if any(process.returncode is not None for process in self._processes):
                    await self.told()
                    raise ProgramError("A worker ended early.")
                await asyncio.sleep(_LOOK)

    def _done(self) -> int:
        data = self._counter.read_bytes()
        return sum(struct.unpack(f"{len(data) // 8}q", data))

    async def told(self) -> list[dict[str, Any]]:
        """They end, and say what they have seen."""
        return list(await asyncio.gather(*(result(one, "queue_worker", 30) for one in self._processes)))


@asynccontextmanager
async def crew(
    kind: str, mode: str, here: queues.Place, workers: int, options: Mapping[str, Any] | None = None
) -> AsyncIterator[Crew]:
    """Workers that have been loaded and wait for `go`; what is left of them at the end is killed."""
    with tempfile.TemporaryDirectory(prefix="safelight-bench-") as folder:
        counter = Path(folder) / "done"
        counter.write_bytes(bytes(8 * workers))
        given = [] if options is None else [json.dumps(options)]
        processes = [
            await start("queue_worker", kind, mode, *here, counter, number, *given)
            for number in range(workers)
        ]
        try:
            for process in processes:
                assert await line(process, "queue_worker") == "loaded"
            yield Crew(processes, counter)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
