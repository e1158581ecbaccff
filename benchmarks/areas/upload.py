"""Uploads of 100 MB: how fast, and how much the memory of the API process grows; raw and multipart.

Into files and into Postgres, every byte durable and hashed before the answer; against a bare Litestar
`request.stream()` into a file (with and without fsync), Litestar's own multipart, and a bare insert of the
same bytes into Postgres. One worker process each; the client hands the kernel a file to send.
"""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from ground import Ground
from measure import HERE, Area, Figure, Numbers, Plan, Table, cpu, forget_peak, memory, program, rounds

from safelight.jobs.queue import JobQueue
from safelight.wire.resources import PipelineInfo
from support.images import jpeg
from support.ports import free_port
from support.processes import Process, api_process, process

SIZE = 100_000_000
MB = SIZE / 1e6
OURS = "/api/jobs?pipeline=noop"


async def measure(ground: Ground, plan: Plan) -> Area:
    """All of it."""
    area = Area("upload")
    # On a disk, not in a RAM disk, as what is measured is meant to be durable.
    with tempfile.TemporaryDirectory(prefix="safelight-bench-", dir="/var/tmp") as folder:
        image, stored, theirs = Path(folder) / "image.jpg", Path(folder) / "stored", Path(folder) / "theirs"
        _make(image)
        stored.mkdir()
        theirs.mkdir()
        async with AsyncExitStack() as stack:
            dsn = await stack.enter_async_context(ground.fresh())
            await _offer(dsn)
            settings: dict[str, Any] = {"log_level": "info", "max_upload_bytes": SIZE}
            to_file, to_postgres = [
                await stack.enter_async_context(
                    api_process(dsn, ground.redis_url, storage_url=url, **settings)
                )
                for url in (f"file://{stored}", "postgres:")
            ]
            litestar = await stack.enter_async_context(_rival("litestar", theirs))
            cases: dict[str, Callable[[], Awaitable[Numbers]]] = {
                "safelight raw file": partial(_send, to_file, "raw", "POST", OURS, image),
                "litestar stream": partial(_send, litestar, "raw", "PUT", "/stream", image),
                "litestar stream sync": partial(_send, litestar, "raw", "PUT", "/stream?sync", image),
                "safelight multipart file": partial(_send, to_file, "multipart", "POST", OURS, image),
                "litestar form": partial(_send, litestar, "multipart", "POST", "/form", image),
                "safelight raw postgres": partial(_send, to_postgres, "raw", "POST", OURS, image),
                "postgres inserts": partial(_insert, dsn, image),
            }
            found = await rounds(cases, plan.rounds)
    _tell(area, found)
    return area


def _tell(area: Area, found: dict[str, Numbers]) -> None:
    titles = {
        "safelight raw file": "Safelight, raw body, file://",
        "litestar stream": "bare Litestar stream to a file, no fsync",
        "litestar stream sync": "bare Litestar stream to a file, fsync",
        "safelight multipart file": "Safelight, multipart, file://",
        "litestar form": "Litestar UploadFile, copied to a file, no fsync",
        "safelight raw postgres": "Safelight, raw body, postgres:",
        "postgres inserts": "bare inserts of 1 MiB, no HTTP",
    }
    area.tables.append(
        Table(
            f"Uploads of {MB:.0f} MB",
            ("way", "MB/s", "CPU ms/MB server", "memory growth MiB", "spread"),
            [
                (
                    title,
                    f"{found[name]['rate']:.0f}",
                    f"{found[name]['server']:.2f}",
                    f"{found[name]['growth']:.1f}",
                    f"{found[name]['spread']:.2f}",
                )
                for name, title in titles.items()
            ],
        )
    )

    def rate(name: str, ours: str, theirs: str, yardstick: str, goal: float) -> Figure:
        return Figure(name, found[ours]["rate"], found[theirs]["rate"], yardstick, goal)

    raw, form = "safelight raw file", "safelight multipart file"
    area.figures += [
        rate("upload-raw-rate", raw, "litestar stream sync", "bare-litestar-stream-with-fsync", 0.95),
        rate("upload-raw-rate", raw, "litestar stream", "bare-litestar-stream-without-fsync", 0.95),
        rate("upload-multipart-rate", form, raw, "our-own-raw", 0.75),
        rate("upload-multipart-rate", form, "litestar form", "litestar-form-without-fsync", 1.5),
        rate("upload-postgres-rate", "safelight raw postgres", "postgres inserts", "bare-inserts", 0.75),
        Figure("upload-memory-growth", found[raw]["growth"], 8.0, "8-MiB", 1.0, "less"),
        Figure("upload-memory-growth-multipart", found[form]["growth"], 8.0, "8-MiB", 1.0, "less"),
        Figure(
            "upload-memory-growth-postgres",
            found["safelight raw postgres"]["growth"],
            8.0,
            "8-MiB",
            1.0,
            "less",
        ),
    ]


def _make(path: Path) -> None:
    """A photograph with noise behind its end, which a camera's maker note might be."""
    start = jpeg(640, 480)
    path.write_bytes(start + os.urandom(SIZE - len(start)))


async def _offer(dsn: str) -> None:
    """Nobody runs the jobs; the API only has to know the pipeline."""
    info = PipelineInfo(
        name="noop",
        version="1",
        title="",
        description="",
        stages=[],
        params={"type": "object"},
        deadline=60,
        max_inputs=1,
        max_pixels=100_000_000,
        max_attempts=3,
    )
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        await JobQueue(pool).register([info])


@asynccontextmanager
async def _rival(name: str, folder: Path) -> AsyncIterator[Process]:
    port = free_port()
    argv = [sys.executable, "-m", "granian", f"upload_rivals:{name}", "--factory", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--interface", "asgi", "--loop", "uvloop", "--log-level", "error"]
    env = {**os.environ, "PYTHONPATH": str(HERE / "programs"), "FOLDER": str(folder)}
    async with process(name, argv, env, port) as running:
        await running.until(lambda: _answers(running), "getting ready")
        yield running


def _answers(running: Process) -> bool:
    try:
        return httpx.get(running.url + "/nothing", timeout=2).status_code == 404
    except httpx.HTTPError:
        return False


async def _send(server: Process, kind: str, method: str, target: str, image: Path) -> Numbers:
    before, used = memory(server.pid), cpu(server.pid)
    forget_peak(server.pid)
    told = await program("uploader", kind, method, server.url + target, image)
    assert told["status"] in (200, 201, 202), f"{server.name} {target}: {told['said']}"
    return {
        "rate": MB / told["seconds"],
        "server": (cpu(server.pid) - used) * 1e3 / MB,
        "growth": max(0.0, memory(server.pid, "VmHWM") - before),
    }


async def _insert(dsn: str, image: Path) -> Numbers:
    told = await program("upload_postgres", dsn, image)
    return {"rate": MB / told["seconds"], "server": 0.0, "growth": 0.0}
