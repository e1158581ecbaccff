"""A worker of one queue: `queue_worker.py KIND drain|serve DSN COUNT [REDIS_URL]`. Handlers do nothing.

Called by areas/queue.py, once for ours and once for each rival. `drain` empties a queue that was filled
before: from the first handler's start to the moment when the last result is recorded. `serve` is told
when each job was enqueued (by a clock that all processes share) and answers how long they took to start.

Kinds of ours:
    safelight         the processor's own Claims and Leases with 100 slots, and a result for every job
    safelight-loop    nothing but the queue's `exchange`: 100 ends and 100 claims a statement
"""

# ruff: noqa: PLC0415  each kind imports only what it needs, so that none pays for the others

import asyncio
import json
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import uvloop

SLOTS = 100
used: list[float] = []  # CPU seconds of the imports and everything else before the first handler
began: list[float] = []
waited: list[float] = []


def started(payload: str | None = None) -> None:
    """A handler has begun; `payload` is the time at which its job was enqueued, in ns."""
    now = time.monotonic_ns()
    if not began:
        used.append(time.process_time())
    began.append(now / 1e9)
    if payload:
        waited.append((now - int(payload)) / 1e6)


# ---- ours


async def safelight(kind: str, mode: str, dsn: str, count: int, redis_url: str) -> None:
    """Ours, without children: the loops are the processor's own."""
    from safelight.config import Settings
    from safelight.db.pool import open_pool
    from safelight.jobs.batches import Batches
    from safelight.jobs.queue import JobQueue
    from safelight.telemetry import logs

    logs.configure("warning", "json", "bench")  # as quiet as the rivals are by default
    settings = Settings(database_url=dsn, redis_url=redis_url)
    async with open_pool(settings) as pool:
        queue = JobQueue(pool)
        if kind == "safelight-loop":
            await _loop(queue, count)
        else:
            await _claims(queue, Batches(pool), settings, count, redis_url if mode == "serve" else "")


def _ended(lease):
    from safelight.jobs.job import Ended

    return Ended(
        fence=lease.fence,
        state="succeeded",
        reason="completed",
        progress=100.0,
        stage=None,
        result='{"ok":true}',
    )


async def _loop(queue, count: int) -> None:
    worker, ended, recorded = uuid4(), [], 0
    while recorded < count:
        exchanged = await queue.exchange(ended, ["noop"], SLOTS, worker, 15.0)
        for _ in exchanged.leases:
            started()
        recorded += len(exchanged.changes)
        ended = [_ended(lease) for lease in exchanged.leases]


async def _claims(queue, batches, settings, count: int, redis_url: str) -> None:
    from safelight_processor.claims import Claims
    from safelight_processor.leases import Leases, Run

    leases = Leases(queue, settings)
    left, over = count, asyncio.Event()

    async def execute(run: Run) -> None:
        nonlocal left
        started(json.loads(run.lease.params).get("t") if redis_url else None)
        assert await leases.complete(_ended(run.lease)) is not None
        left -= 1
        if not left:
            over.set()

    claims = Claims(queue, batches, leases, settings, execute, slots=SLOTS, worker=uuid4())
    claims.pipelines = ["noop"]
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(claims.run(group))]
        if redis_url:
            background.append(group.create_task(_woken(redis_url, claims.wake)))
        await over.wait()
        for task in background:
            task.cancel()


async def _woken(redis_url: str, wake: Callable[[], None]) -> None:
    from safelight.progress import keys
    from safelight.progress.stream import connect
    from safelight.progress.tail import Tail

    async def resync() -> None:
        ready()

    await Tail(connect(redis_url, timeout=5.0), [keys.WAKE], lambda *_: wake(), resync).run()


# ---- theirs, as their documentation says


async def pgqueuer(kind: str, mode: str, dsn: str, count: int, redis_url: str) -> None:
    """PgQueuer, batches of 100."""
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.types import QueueExecutionMode

    connection = await asyncpg.connect(dsn)
    worker = PgQueuer.from_asyncpg_connection(connection)
    left = count

    @worker.entrypoint("noop")
    async def noop(job) -> None:
        nonlocal left
        started(job.payload.decode() if job.payload else None)
        left -= 1
        if not left and mode == "serve":
            worker.shutdown.set()

    drain = mode == "drain"
    running = asyncio.create_task(
        worker.run(
            batch_size=SLOTS if drain else 10,
            mode=QueueExecutionMode.drain if drain else QueueExecutionMode.continuous,
        )
    )
    if not drain:
        await asyncio.sleep(1.0)  # it says nowhere that it listens
        ready()
    await running
    await connection.close()


async def procrastinate(kind: str, mode: str, dsn: str, count: int, redis_url: str) -> None:
    """Procrastinate, up to 100 jobs at once."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=2, max_size=10))
    left, done = count, asyncio.Event()

    @app.task(name="noop")
    async def noop(t: str | None = None) -> None:
        nonlocal left
        started(t)
        left -= 1
        if not left:
            done.set()

    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(concurrency=SLOTS, wait=mode == "serve", install_signal_handlers=False)
        )
        if mode == "serve":
            await asyncio.sleep(1.0)  # it says nowhere that it listens
            ready()
            await done.wait()
            await asyncio.sleep(0.5)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        else:
            await running


def ready() -> None:
    """Says that jobs may come."""
    print("ready", flush=True)


async def main() -> None:
    """Runs the worker and prints what it has seen."""
    kind, mode, dsn, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    redis_url = sys.argv[5] if len(sys.argv) > 5 else ""
    run = {"pgqueuer": pgqueuer, "procrastinate": procrastinate}.get(kind, safelight)
    await run(kind, mode, dsn, count, redis_url)
    seconds, cpu = time.monotonic() - began[0], time.process_time() - used[0]
    print("result", json.dumps({"jobs": len(began), "seconds": seconds, "cpu": cpu, "waited": waited}))


if __name__ == "__main__":
    uvloop.run(main())
