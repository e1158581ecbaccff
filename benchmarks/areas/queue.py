"""The queue: draining, enqueueing, and how soon a job starts; against PgQueuer and Procrastinate.

Everybody has the same Postgres (fsync and synchronous_commit on) and handlers that do nothing. Every
measurement has a database of its own, filled and vacuumed before the clock starts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg
from ground import Ground
from measure import Area, Figure, Numbers, Plan, Table, cpu, line, percentile, program, result, rounds, start

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.queue import JobQueue
from safelight.progress import keys
from support.processes import processor_process

OURS = ("safelight", "safelight-loop")
RIVALS = ("pgqueuer", "procrastinate")
DRAINED = {
    "safelight": 20_000,
    "safelight-loop": 20_000,
    "pgqueuer": 20_000,
    "procrastinate": 1_200,
}
NAMES = {
    "safelight": "Safelight: the processor's Claims with 100 slots, a task a job",
    "safelight-loop": "Safelight: exchange of 100 and 100, nothing else",
    "pgqueuer": "PgQueuer, batches of 100",
    "procrastinate": "Procrastinate, 100 at once",
    "system": "Safelight whole: processor, 2 sandboxed children, results, news",
}
_BULK = 1000


async def measure(ground: Ground, plan: Plan) -> Area:
    """All of it."""
    area = Area("queue")
    await _drain(area, ground, plan)
    await _enqueue(area, ground, plan)
    await _wait(area, ground, plan)
    area.notes.append(
        "Drain counts from the first handler's start until the last result is recorded and the worker is "
        "idle. PgQueuer deletes its jobs and stores no result; ours and Procrastinate's keep a row for good."
    )
    return area


# ---- filling


async def fill(ground: Ground, kind: str, dsn: str, count: int) -> None:
    """Puts jobs into a queue, by whatever is quickest, and lets Postgres know how many there are."""
    if kind == "pgqueuer":
        await _fill_pgqueuer(dsn, count)
    elif kind == "procrastinate":
        await _fill_procrastinate(dsn, count)
    else:
        await _fill_ours(dsn, count)
    await ground.execute("vacuum analyze", dsn)


async def _fill_ours(dsn: str, count: int) -> None:
    from support.jobs import new_job  # noqa: PLC0415

    async with open_pool(Settings(database_url=dsn)) as pool:
        queue = JobQueue(pool)
        for at in range(0, count, _BULK):
            await queue.enqueue_many([new_job() for _ in range(min(_BULK, count - at))])


async def _schema(kind: str, dsn: str) -> None:
    """A rival's tables, made by the rival."""
    if kind == "pgqueuer":
        from pgqueuer import AsyncpgDriver, Queries  # noqa: PLC0415

        connection = await asyncpg.connect(dsn)
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()
    elif kind == "procrastinate":
        from procrastinate import App, PsycopgConnector  # noqa: PLC0415

        async with App(connector=PsycopgConnector(conninfo=dsn)).open_async() as app:
            await app.schema_manager.apply_schema_async()


async def _fill_pgqueuer(dsn: str, count: int) -> None:
    from pgqueuer import AsyncpgDriver, Queries  # noqa: PLC0415

    connection = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(connection))
    for at in range(0, count, _BULK):
        some = min(_BULK, count - at)
        await queries.enqueue(["noop"] * some, [None] * some, [0] * some)
    await connection.close()


async def _fill_procrastinate(dsn: str, count: int) -> None:
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415

    async with App(connector=PsycopgConnector(conninfo=dsn)).open_async() as app:
        task = app.configure_task("noop")
        for at in range(0, count, _BULK):
            await task.batch_defer_async(*({} for _ in range(min(_BULK, count - at))))


# ---- draining


async def _drain(area: Area, ground: Ground, plan: Plan) -> None:
    cases: dict[str, Callable[[], Awaitable[Numbers]]] = {
        kind: partial(_drain_once, ground, kind, plan.count(DRAINED[kind])) for kind in (*OURS, *RIVALS)
    }
    cases["system"] = partial(_drain_system, ground, plan.count(800))
    found = await rounds(cases, plan.rounds)
    area.tables.append(
        Table(
            "Draining a queue of jobs that do nothing",
            ("worker", "jobs/s", "CPU us/job worker", "CPU us/job Postgres", "spread"),
            [
                (
                    NAMES[kind],
                    f"{one['rate']:,.0f}",
                    f"{one['worker']:,.0f}",
                    f"{one['postgres']:,.0f}",
                    f"{one['spread']:.2f}",
                )
                for kind, one in found.items()
            ],
        )
    )
    ours, theirs, slower = (found[kind]["rate"] for kind in ("safelight", "pgqueuer", "procrastinate"))
    spent = {kind: found[kind]["worker"] + found[kind]["postgres"] for kind in ("safelight", "pgqueuer")}
    area.figures += [
        Figure("queue-drain-cpu-per-job", spent["safelight"], spent["pgqueuer"], "pgqueuer", 0.55, "less"),
        Figure("queue-drain-rate", ours, theirs, "pgqueuer", 1.8),
        Figure("queue-drain-rate", ours, slower, "procrastinate", 20.0),
        Figure("system-drain-rate", found["system"]["rate"], slower, "procrastinate", 1.0),
    ]


async def _drain_once(ground: Ground, kind: str, count: int) -> Numbers:
    async with ground.fresh(empty=kind in RIVALS) as dsn:
        await _schema(kind, dsn)
        await fill(ground, kind, dsn, count)
        before = cpu(ground.postgres_pid)
        told = await program("queue_worker", kind, "drain", dsn, count, ground.redis_url)
        assert told["jobs"] == count, f"{kind} ran {told['jobs']} of {count} jobs"
        return {
            "rate": count / told["seconds"],
            "worker": told["cpu"] / count * 1e6,
            "postgres": (cpu(ground.postgres_pid) - before) / count * 1e6,
        }


async def _drain_system(ground: Ground, count: int) -> Numbers:
    """A real processor with its children; the jobs come when it is ready."""
    async with (
        ground.fresh() as dsn,
        processor_process(
            dsn, ground.redis_url, modules="support.hostile:noop", pipelines="noop", log_level="info"
        ) as processor,
    ):
        before, mine = cpu(ground.postgres_pid), cpu(processor.pid)
        await _fill_ours(dsn, count)
        await _wake(ground)
        async with asyncio.timeout(120):
            while await _ended(ground, dsn) < count:  # noqa: ASYNC110  it happens in another process
                await asyncio.sleep(0.1)
        seconds = float(
            await ground.execute(
                "select extract(epoch from max(finished_at) - min(claimed_at)) from done", dsn
            )
        )
        return {
            "rate": count / seconds,
            "worker": (cpu(processor.pid) - mine) / count * 1e6,
            "postgres": (cpu(ground.postgres_pid) - before) / count * 1e6,
        }


async def _ended(ground: Ground, dsn: str) -> int:
    return int(await ground.execute("select count(*) from done", dsn))


async def _wake(ground: Ground) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", ground.redis_port)
    writer.write(f"PUBLISH {keys.WAKE} x\r\n".encode())
    await writer.drain()
    writer.close()


# ---- enqueueing


async def _enqueue(area: Area, ground: Ground, plan: Plan) -> None:
    everybody = ("safelight", *RIVALS)
    cases: dict[str, Callable[[], Awaitable[Numbers]]] = {
        f"{kind} {callers}": partial(_burst, ground, kind, plan.count(800 if callers == 1 else 3000), callers)
        for callers in (1, 16)
        for kind in everybody
    }
    found = await rounds(cases, plan.rounds)
    area.tables.append(
        Table(
            "Enqueueing, every job durable before its call returns, jobs/s",
            ("queue", "1 caller", "16 callers", "CPU us/job client, 16", "spread, 16"),
            [
                (
                    kind,
                    f"{found[f'{kind} 1']['rate']:,.0f}",
                    f"{found[f'{kind} 16']['rate']:,.0f}",
                    f"{found[f'{kind} 16']['client']:,.0f}",
                    f"{found[f'{kind} 16']['spread']:.2f}",
                )
                for kind in everybody
            ],
        )
    )
    for callers, goal in ((1, 1.0), (16, 7.0)):
        best = max(RIVALS, key=lambda kind: found[f"{kind} {callers}"]["rate"])
        name = f"enqueue-rate-{callers}-caller" + ("s" if callers > 1 else "")
        ours = found[f"safelight {callers}"]["rate"]
        area.figures.append(Figure(name, ours, found[f"{best} {callers}"]["rate"], best, goal))


async def _burst(ground: Ground, kind: str, count: int, callers: int) -> Numbers:
    async with ground.fresh(empty=kind in RIVALS) as dsn:
        await _schema(kind, dsn)
        told = await program("queue_producer", kind, "burst", dsn, count, callers, ground.redis_url)
        return {"rate": told["rate"], "client": told["cpu"] / count * 1e6}


# ---- from the call to the start


async def _wait(area: Area, ground: Ground, plan: Plan) -> None:
    everybody = ("safelight", *RIVALS)
    count = plan.count(250)
    found = await rounds({kind: partial(_pace, ground, kind, count) for kind in everybody}, plan.rounds)
    area.tables.append(
        Table(
            "From the call of enqueue to the start of the handler, 50 jobs/s, ms",
            ("queue", "p50", "p99", "spread"),
            [
                (kind, f"{one['p50']:.2f}", f"{one['p99']:.2f}", f"{one['spread']:.2f}")
                for kind, one in found.items()
            ],
        )
    )
    for share, goal in (("p50", 0.65), ("p99", 0.7)):
        best = min(RIVALS, key=lambda kind: found[kind][share])
        ours = found["safelight"][share]
        area.figures.append(
            Figure(f"enqueue-to-start-{share}-latency", ours, found[best][share], best, goal, "less")
        )


async def _pace(ground: Ground, kind: str, count: int) -> Numbers:
    async with ground.fresh(empty=kind in RIVALS) as dsn:
        await _schema(kind, dsn)
        worker = await start("queue_worker", kind, "serve", dsn, count, ground.redis_url)
        try:
            assert await line(worker, "queue_worker") == "ready"
            await program("queue_producer", kind, "pace", dsn, count, 1, ground.redis_url)
            told = await result(worker, "queue_worker", 30)
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
        return {"p50": percentile(told["waited"], 0.5), "p99": percentile(told["waited"], 0.99)}
