"""Status: how many polls of GET /api/jobs/{id} one API process answers, news (200) and no news (304).

Against what one would write without Safelight: a plain Litestar handler under Granian and a plain FastAPI
handler under uvicorn, each with one GET from Redis a request; one worker process each, all on uvloop. A
hundred jobs are polled in turn over 64 connections. Ours also checks who asks, counts, times, and falls back
to Postgres every two seconds.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
from ground import Ground
from measure import HERE, Area, Figure, Numbers, Plan, Table, cpu, program, rounds
from redis.asyncio import Redis

from areas.live import running_jobs
from support.ports import free_port
from support.processes import Process, api_process, process

JOBS = 100
CONNECTIONS = 64
GOALS = {"litestar": 4.0, "fastapi": 7.0}
TITLES = {
    "safelight": "Safelight: GET /api/jobs/{id}",
    "litestar": "plain Litestar on Granian, one Redis GET",
    "fastapi": "plain FastAPI on uvicorn, one Redis GET",
}
YARDSTICKS = {"litestar": "plain-litestar-granian", "fastapi": "plain-fastapi-uvicorn"}


async def measure(ground: Ground, plan: Plan) -> Area:
    """All of it."""
    area = Area("status")
    with tempfile.TemporaryDirectory(prefix="safelight-bench-") as folder:
        async with AsyncExitStack() as stack:
            dsn = await stack.enter_async_context(ground.fresh())
            jobs = await running_jobs(dsn, JOBS)
            api = await stack.enter_async_context(api_process(dsn, ground.redis_url, log_level="info"))
            etags = await _copy_answers(api.url, jobs, ground.redis_url)
            servers = {"safelight": api}
            for name in GOALS:
                servers[name] = await stack.enter_async_context(_rival(name, ground.redis_url))
            asked = {"200": Path(folder) / "200", "304": Path(folder) / "304"}
            asked["200"].write_text("".join(f"/api/jobs/{job}\n" for job in jobs))
            asked["304"].write_text("".join(f"/api/jobs/{job} {etags[job]}\n" for job in jobs))
            cases: dict[str, Callable[[], Awaitable[Numbers]]] = {
                f"{name} {status}": partial(_load, server, asked[status], max(1.0, 4 * plan.scale))
                for status in asked
                for name, server in servers.items()
            }
            found = await rounds(cases, plan.rounds)
    _tell(area, found)
    return area


def _tell(area: Area, found: dict[str, Numbers]) -> None:
    for status in ("200", "304"):
        area.tables.append(
            Table(
                f"Polls answered {status}, {CONNECTIONS} connections, one worker process",
                ("server", "requests/s", "CPU us/request", "p50 ms", "p99 ms", "spread"),
                [
                    (
                        title,
                        f"{one['rate']:,.0f}",
                        f"{one['server']:.0f}",
                        f"{one['p50']:.1f}",
                        f"{one['p99']:.1f}",
                        f"{one['spread']:.2f}",
                    )
                    for name, title in TITLES.items()
                    for one in [found[f"{name} {status}"]]
                ],
            )
        )
        for name, goal in GOALS.items():
            ours, theirs = found[f"safelight {status}"], found[f"{name} {status}"]
            area.figures.append(
                Figure(f"status-{status}-rate", ours["rate"], theirs["rate"], YARDSTICKS[name], goal)
            )
    ours, theirs = found["safelight 200"], found["litestar 200"]
    area.figures.append(
        Figure(
            "status-200-cpu-per-request",
            ours["server"],
            theirs["server"],
            YARDSTICKS["litestar"],
            0.25,
            "less",
        )
    )
    area.notes.append(
        "Load by " + ("wrk, one thread." if shutil.which("wrk") else "our own asyncio generator (no wrk).")
    )


async def _copy_answers(url: str, jobs: list[str], redis_url: str) -> dict[str, str]:
    """Gives the rivals the same bodies; answers the ETags."""
    etags = {}
    async with httpx.AsyncClient(base_url=url) as http, Redis.from_url(redis_url) as redis:
        for job in jobs:
            answer = (await http.get(f"/api/jobs/{job}")).raise_for_status()
            etags[job] = answer.headers["etag"]
            await redis.set(f"bench:status:{job}", etags[job].encode() + b"\n" + answer.content)
    return etags


@asynccontextmanager
async def _rival(name: str, redis_url: str) -> AsyncIterator[Process]:
    port = free_port()
    target = [
        f"status_rivals:{name}",
        "--factory",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    if name == "fastapi":
        argv = [
            sys.executable,
            "-m",
            "uvicorn",
            *target,
            "--loop",
            "uvloop",
            "--no-access-log",
            "--log-level",
            "error",
        ]
    else:
        argv = [sys.executable, "-m", "granian", *target, "--interface", "asgi", "--loop", "uvloop"]
        argv += ["--backlog", "4096", "--backpressure", "20000", "--log-level", "error"]
    env = {**os.environ, "PYTHONPATH": str(HERE / "programs"), "REDIS_URL": redis_url}
    async with process(name, argv, env, port) as running:
        await running.until(lambda: _answers(running), "getting ready")
        yield running


def _answers(running: Process) -> bool:
    """Whether anything at all is answered; these have no /readyz."""
    try:
        return httpx.get(running.url + "/nothing", timeout=2).status_code == 404
    except httpx.HTTPError:
        return False


async def _load(server: Process, asked: Path, seconds: float) -> Numbers:
    before = cpu(server.pid)
    told = await _wrk(server.url, asked, seconds)
    assert not told["errors"], f"{server.name}: {told['errors']} requests failed"
    return {
        "rate": told["requests"] / told["seconds"],
        "server": (cpu(server.pid) - before) / told["requests"] * 1e6,
        "p50": told["p50"],
        "p99": told["p99"],
    }


async def _wrk(url: str, asked: Path, seconds: float) -> dict[str, float]:
    wrk = shutil.which("wrk")
    if wrk is None:
        return await program("status_load", url, CONNECTIONS, seconds, asked)
    arguments = ["-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(seconds))}s"]
    running = await asyncio.create_subprocess_exec(
        wrk,
        *arguments,
        "-s",
        str(HERE / "programs" / "wrk.lua"),
        url,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BENCH_REQUESTS": str(asked)},
    )
    try:
        async with asyncio.timeout(seconds + 30):
            out, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    found: dict[str, float] = json.loads(
        next(line for line in out.decode().splitlines() if line.startswith("{"))
    )
    return found
