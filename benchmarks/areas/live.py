"""Live: from Stream.publish to a WebSocket client, through a real API process, for 1 and for 100 watchers.

Yardsticks in the same run: a bare Redis pub/sub hop between two processes (no server in between), and a
bare relay made of `websockets` and a Redis subscription, which has no snapshot, resume or authorization.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

import asyncpg
from ground import Ground
from measure import Area, Figure, Numbers, Plan, Table, cpu, line, percentile, program, result, rounds, start

from safelight.jobs.queue import JobQueue
from support.jobs import enqueue
from support.ports import free_port
from support.processes import api_process

WATCHERS = (1, 100)
PER_SECOND = 10  # events of each job
LONG = 3600.0  # seconds of the leases: nobody runs these jobs


async def measure(ground: Ground, plan: Plan) -> Area:
    """All of it."""
    area = Area("live")
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(ground.fresh())
        jobs = await running_jobs(dsn, max(WATCHERS))
        api = await stack.enter_async_context(api_process(dsn, ground.redis_url, log_level="info"))
        port = free_port()
        relay = await start("live_relay", port, ground.redis_port)
        stack.callback(_end, relay.pid)
        assert await line(relay, "live_relay") == "ready"

        ways: dict[str, tuple[str, str, str, str, int]] = {
            "safelight": (
                "safelight",
                "socket",
                f"ws://127.0.0.1:{api.port}",
                "/api/jobs/{job}/live",
                api.pid,
            ),
            "websockets": ("bare", "socket", f"ws://127.0.0.1:{port}", "/{job}", relay.pid),
            "redis": ("bare", "redis", ground.redis_url, "", 0),
        }
        # A job's numbers only grow: every round of ours needs jobs of its own.
        cases: dict[str, Callable[[], Awaitable[Numbers]]] = {
            f"{name} {count}": partial(_watch, ground, dsn, plan, way, jobs[:count])
            for count in WATCHERS
            for name, way in ways.items()
        }
        found = await rounds(cases, plan.rounds)
    _tell(area, found)
    return area


def _tell(area: Area, found: dict[str, Numbers]) -> None:
    names = {
        "safelight": "Safelight: Stream.publish, Granian API, WebSocket",
        "websockets": "bare relay: PUBLISH, `websockets`, WebSocket",
        "redis": "bare Redis hop: PUBLISH, subscriber",
    }
    for count in WATCHERS:
        area.tables.append(
            Table(
                f"{count} watcher{'s' if count > 1 else ''}, each of a job with {PER_SECOND} events/s",
                ("way", "p50 ms", "p99 ms", "delivered", "CPU us/event server", "spread"),
                [
                    (
                        title,
                        f"{one['p50']:.2f}",
                        f"{one['p99']:.2f}",
                        f"{one['delivered']:.3f}",
                        f"{one['server']:.0f}",
                        f"{one['spread']:.2f}",
                    )
                    for name, title in names.items()
                    for one in [found[f"{name} {count}"]]
                ],
            )
        )
        ours = found[f"safelight {count}"]
        for share, goals in (
            ("p50", {"websockets": 1.3, "redis": 2.0}),
            ("p99", {"websockets": 1.3, "redis": 2.0}),
        ):
            for rival, goal in goals.items():
                yardstick = "bare-websockets-relay" if rival == "websockets" else "bare-redis-hop"
                theirs = found[f"{rival} {count}"][share]
                area.figures.append(
                    Figure(f"live-{share}-latency-{count}", ours[share], theirs, yardstick, goal, "less")
                )
    mine, relays = (found[f"{name} {WATCHERS[-1]}"]["server"] for name in ("safelight", "websockets"))
    area.figures.append(
        Figure("live-server-cpu-per-event", mine, relays, "bare-websockets-relay", 1.45, "less")
    )


async def _watch(
    ground: Ground, dsn: str, plan: Plan, way: tuple[str, str, str, str, int], jobs: list[str]
) -> Numbers:
    publisher, kind, url, path, server = way
    if publisher == "safelight":
        jobs = await running_jobs(dsn, len(jobs))
    seconds = max(2, plan.count(6 if len(jobs) == 1 else 4))
    watcher = await start("live_watcher", kind, url, path or "-", *jobs)
    try:
        assert await line(watcher, "live_watcher") == "ready"
        before = cpu(server) if server else 0.0
        told = await program("live_publisher", publisher, ground.redis_url, PER_SECOND, seconds, *jobs)
        seen = (await result(watcher, "live_watcher", 30))["latencies"]
        spent = cpu(server) - before if server else 0.0
    finally:
        if watcher.returncode is None:
            watcher.kill()
            await watcher.wait()
    return {
        "p50": percentile(seen, 0.5),
        "p99": percentile(seen, 0.99),
        "delivered": len(seen) / told["sent"],
        "server": spent / len(seen) * 1e6,
    }


async def running_jobs(dsn: str, count: int) -> list[str]:
    """Jobs that are claimed, and that nobody works on."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        queue = JobQueue(pool)
        for _ in range(count):
            await enqueue(queue)
        leases = await queue.claim(["noop"], count, UUID(int=1), LONG)
        assert len(leases) == count
        return [str(lease.id) for lease in leases]


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
