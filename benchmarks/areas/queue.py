"""The queue against others: draining, enqueueing, and how soon a job starts.

Handlers do nothing. How each queue is run, and what it does not do, is in queues/. What is measured of ours
alone is in queue_alone.py.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal

import queues
import stage
from ground import Ground
from measure import Area, Case, Figure, Numbers, Plan, Table, cpu, rounds

from areas import queue_alone
from safelight.progress import keys
from support.processes import processor_process

DRAINED = {  # for a second or two of each
    "safelight": 30_000,
    "safelight_loop": 30_000,
    "pgqueuer": 20_000,
    "awa": 10_000,
    "chancy": 12_000,
    "oban": 4_000,
    "procrastinate": 1_000,
    "saq_postgres": 1_000,
    "saq_redis": 3_000,
    "taskiq": 5_000,
    "dramatiq": 4_000,
}
LOOP = "safelight, exchange alone"
SYSTEM = "safelight whole: processor, 2 sandboxed children, results, news"


async def measure(ground: Ground, plan: Plan) -> Area:
    """All of it; the few rivals that `make bench` has time for unless the plan is full."""
    area = Area("queue")
    postgres = queues.POSTGRES if plan.full else queues.FEW
    redis = queues.REDIS if plan.full else ()
    await _drain(area, ground, plan, postgres, redis)
    await _enqueue(area, ground, plan, postgres, redis)
    await _wait(area, ground, plan, postgres)
    if plan.full:
        await queue_alone.measure(area, ground, plan)
    area.notes.append(
        "Drain counts from the first handler's start until the last end: ours and Chancy's when it is "
        "recorded, the others' when their last handler has returned."
    )
    return area


def fastest(found: Mapping[str, Numbers], kinds: Iterable[str], what: str = "rate", case: str = "{}") -> str:
    """Which of them has the most."""
    return max(kinds, key=lambda kind: found[case.format(kind)][what])


# ---- draining


async def _drain(
    area: Area, ground: Ground, plan: Plan, postgres: tuple[str, ...], redis: tuple[str, ...]
) -> None:
    rivals = (*postgres, *redis)
    crews = (1, 2) if plan.full else (1,)
    cases: dict[str, Case] = {
        f"{kind} {workers}": partial(_drain_once, ground, kind, plan.count(DRAINED[kind]), workers)
        for workers in crews
        for kind in ("safelight", *rivals)
    }
    cases[LOOP] = partial(_drain_once, ground, "safelight_loop", plan.count(DRAINED["safelight_loop"]), 1)
    cases[SYSTEM] = partial(_drain_system, ground, plan.count(800))
    found = await rounds(cases, plan.rounds)
    names = {f"{kind} {workers}": f"{kind}, {workers} process" for kind in rivals for workers in crews}
    area.tables.append(
        Table(
            "Draining a queue of jobs that do nothing",
            ("worker", "jobs/s", "CPU us/job worker", "CPU us/job servers", "spread"),
            [
                (
                    names.get(name, name).replace("2 process", "2 processes"),
                    f"{one['rate']:,.0f}",
                    f"{one['worker']:,.0f}",
                    f"{one['servers']:,.0f}",
                    f"{one['spread']:.2f}",
                )
                for name, one in found.items()
            ],
        )
    )

    def figure(name: str, workers: int, rival: str, goal: float) -> Figure:
        ours, theirs = (found[f"{kind} {workers}"]["rate"] for kind in ("safelight", rival))
        return Figure(name, ours, theirs, rival, goal)

    best = fastest(found, postgres, case="{} 1")
    spent = {kind: _cpu(found[f"{kind} 1"]) for kind in ("safelight", best)}
    area.figures += [
        Figure("queue-drain-cpu-per-job", spent["safelight"], spent[best], best, 0.55, "less"),
        figure("queue-drain-rate", 1, best, 1.8),
        figure("queue-drain-rate", 1, "procrastinate", 20.0),
    ]
    if plan.full:
        area.figures += [
            figure("queue-drain-rate-2-workers", 2, fastest(found, postgres, case="{} 2"), 2.0),
            figure("queue-drain-rate", 1, fastest(found, redis, case="{} 1"), 8.0),
        ]
    area.figures.append(
        Figure(
            "system-drain-rate",
            found[SYSTEM]["rate"],
            found["procrastinate 1"]["rate"],
            "procrastinate",
            1.0,
        )
    )


def _cpu(one: Numbers) -> float:
    return one["worker"] + one["servers"]


async def _drain_once(ground: Ground, kind: str, count: int, workers: int) -> Numbers:
    async with stage.place(ground, kind, count) as here:
        return await stage.drain(ground, kind, here, count, workers=workers)


async def _drain_system(ground: Ground, count: int) -> Numbers:
    """A real processor with its children; the jobs come when it is ready."""
    async with (
        stage.place(ground, "safelight") as here,
        processor_process(
            here.dsn, here.redis_url, modules="support.hostile:noop", pipelines="noop", log_level="info"
        ) as processor,
    ):
        before, mine = cpu(ground.postgres_pid, ground.redis_pid), cpu(processor.pid)
        async with queues.load("safelight").producer(here) as producer:
            await producer.put_many(count)
        await ground.tell_redis(f"PUBLISH {keys.WAKE} x")
        async with asyncio.timeout(120):
            while int(await ground.execute("select count(*) from done", here.dsn)) < count:  # noqa: ASYNC110  it happens in another process
                await asyncio.sleep(0.1)
        span = "select extract(epoch from max(finished_at) - min(claimed_at)) from done"
        return {
            "rate": count / float(await ground.execute(span, here.dsn)),
            "worker": (cpu(processor.pid) - mine) / count * 1e6,
            "servers": (cpu(ground.postgres_pid, ground.redis_pid) - before) / count * 1e6,
        }


# ---- enqueueing


async def _enqueue(
    area: Area, ground: Ground, plan: Plan, postgres: tuple[str, ...], redis: tuple[str, ...]
) -> None:
    everybody = ("safelight", *postgres, *redis)
    seconds = 1.0 * plan.scale
    ways: dict[str, tuple[str, int]] = {"1 caller": ("burst", 1), "16 callers": ("burst", 16)}
    if plan.full:
        ways |= {"64 callers": ("burst", 64), "bulk": ("bulk", 1)}
    cases: dict[str, Callable[[], Case]] = {
        f"{kind} {way}": partial(stage.submit, ground, kind, mode, seconds, callers)
        for way, (mode, callers) in ways.items()
        for kind in everybody
    }
    found = await rounds(cases, plan.rounds)
    area.tables.append(
        Table(
            "Enqueueing, jobs/s (with Postgres, every job is durable before its call returns)",
            ("queue", *ways, "CPU us/job client, 16", "CPU us/job servers, 16", "spread, 16"),
            [
                (
                    kind,
                    *(f"{found[f'{kind} {way}']['rate']:,.0f}" for way in ways),
                    f"{found[f'{kind} 16 callers']['client']:,.0f}",
                    f"{found[f'{kind} 16 callers']['servers']:,.0f}",
                    f"{found[f'{kind} 16 callers']['spread']:.2f}",
                )
                for kind in everybody
            ],
        )
    )

    def figure(way: str, rivals: tuple[str, ...], goal: float) -> Figure:
        best = fastest(found, rivals, case="{} " + way)
        ours, theirs = (found[f"{kind} {way}"]["rate"] for kind in ("safelight", best))
        return Figure("enqueue-rate-" + way.replace(" ", "-"), ours, theirs, best, goal)

    goals = {"1 caller": 1.0, "16 callers": 7.0, "64 callers": 20.0, "bulk": 1.5}
    area.figures += [figure(way, postgres, goals[way]) for way in ways]
    if redis:
        area.figures.append(figure("16 callers", redis, 1.2))


# ---- from the call to the start


async def _wait(area: Area, ground: Ground, plan: Plan, postgres: tuple[str, ...]) -> None:
    everybody = ("safelight", *postgres)
    found = await rounds(
        {kind: partial(_wait_once, ground, kind, 5.0 * plan.scale) for kind in everybody}, plan.rounds
    )
    area.tables.append(
        Table(
            "From the call of enqueue to the start of the handler in another process, 50 jobs/s, ms",
            ("queue", "p50", "p95", "p99", "spread"),
            [
                (kind, *(f"{one[share]:.2f}" for share in ("p50", "p95", "p99", "spread")))
                for kind, one in found.items()
            ],
        )
    )

    def figure(share: Literal["p50", "p99"], goal: float) -> Figure:
        best = min(postgres, key=lambda kind: found[kind][share])
        ours, theirs = found["safelight"][share], found[best][share]
        return Figure(f"enqueue-to-start-{share}-latency", ours, theirs, best, goal, "less")

    area.figures += [figure("p50", 0.65), figure("p99", 0.7)]


async def _wait_once(ground: Ground, kind: str, seconds: float) -> Numbers:
    async with stage.place(ground, kind) as here:
        return await stage.serve(ground, kind, here, seconds, 50.0)
