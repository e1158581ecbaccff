"""Thumbnails: 12 megapixels of JPEG -> 1024 px of JPEG, as whole jobs, against bare loops of image libraries.

A whole job is: uploaded over HTTP, stored, queued, claimed, decoded in a sandboxed child, its output stored,
recorded, and downloaded again by the client. Two things are compared: images per CPU second (of the
processor with its children, and of the whole service with both servers), and images per second and core,
with as many slots, and as many bare loops, as there are cores.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from ground import Ground
from measure import Area, Figure, Numbers, Plan, Table, cpu, line, program, result, rounds, start

from support.images import encoded, photo
from support.processes import Process, api_process, processor_process

SIZE = (4000, 3000)
CALLERS = 6  # for each slot
GRAIN = 8.0  # standard deviation, of 255
SMALL = (1024, 768)
LOOPS = ("pillow", "pyvips", "opencv")
GOALS = {"pillow": 0.9, "pyvips": 1.4, "opencv": 1.0}
TITLES = {
    "service file": "Safelight, whole jobs, storage file://",
    "service postgres": "Safelight, whole jobs, storage postgres:",
    "pillow": "bare loop, same Pillow, explicit draft",
    "pyvips": "bare loop, pyvips thumbnail()",
    "opencv": "bare loop, OpenCV, reduced decode + INTER_AREA",
}
CORES = os.cpu_count() or 1


async def measure(ground: Ground, plan: Plan) -> Area:
    """All of it."""
    area = Area("thumbnails")
    with tempfile.TemporaryDirectory(prefix="safelight-bench-", dir="/var/tmp") as folder:
        image = Path(folder) / "photo.jpg"
        image.write_bytes(encoded(_photograph(), "JPEG", quality=90))
        async with AsyncExitStack() as stack:
            stored = Path(folder) / "stored"
            stored.mkdir()
            services = {
                "service file": await _service(stack, ground, f"file://{stored}"),
                "service postgres": await _service(stack, ground, "postgres:"),
            }
            cases: dict[str, Callable[[], Awaitable[Numbers]]] = {
                name: partial(_jobs, ground, *service, image, plan.count(48))
                for name, service in services.items()
            }
            cases |= {name: partial(_loops, name, image, plan.count(16)) for name in LOOPS}
            found = await rounds(cases, plan.rounds)
        isolated = await rounds({"isolation": partial(_isolation, area, image, plan.count(15))}, plan.rounds)
        area.notes.append(f"The picture is {image.stat().st_size / 1e6:.1f} MB.")
    _tell(area, found, isolated["isolation"])
    return area


def _photograph() -> PIL.Image.Image:
    """With the grain of a sensor, without which a JPEG of this size has a fifth of a photograph's bytes."""
    grain = np.random.default_rng(1).normal(0, GRAIN, (SIZE[1], SIZE[0], 1))
    pixels = np.clip(np.asarray(photo(*SIZE)) + grain, 0, 255)
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def _tell(area: Area, found: dict[str, Numbers], isolated: Numbers) -> None:
    area.tables.append(
        Table(
            f"{SIZE[0]} x {SIZE[1]} JPEG to {SMALL[0]} x {SMALL[1]} JPEG",
            ("way", "images/CPU s, processor", "images/CPU s, whole", "images/s and core", "spread"),
            [
                (
                    title,
                    f"{one['worker']:.1f}",
                    f"{one['whole']:.1f}",
                    f"{one['core']:.1f}",
                    f"{one['spread']:.2f}",
                )
                for name, title in TITLES.items()
                for one in [found[name]]
            ],
        )
    )
    area.tables.append(
        Table(
            "The same picture in one process and in a sandboxed child, ms",
            ("in process", "in a child"),
            [(f"{isolated['process'] * 1e3:.1f}", f"{isolated['child'] * 1e3:.1f}")],
        )
    )
    ours = found["service file"]
    for name, goal in GOALS.items():
        area.figures.append(
            Figure(
                "thumbnail-images-per-cpu-second", ours["worker"], found[name]["worker"], f"bare-{name}", goal
            )
        )
    for name, goal in GOALS.items():
        area.figures.append(
            Figure("thumbnail-whole-jobs-per-core", ours["core"], found[name]["core"], f"bare-{name}", goal)
        )
    area.figures.append(
        Figure("thumbnail-isolation-time", isolated["child"], isolated["process"], "in-process", 1.03, "less")
    )


Service = tuple[Process, Process]


async def _service(stack: AsyncExitStack, ground: Ground, storage: str) -> Service:
    dsn = await stack.enter_async_context(ground.fresh())
    settings: dict[str, Any] = {"storage_url": storage, "log_level": "info"}
    processor = await stack.enter_async_context(
        processor_process(dsn, ground.redis_url, slots=CORES, pipelines="transform", **settings)
    )
    return await stack.enter_async_context(api_process(dsn, ground.redis_url, **settings)), processor


async def _jobs(ground: Ground, api: Process, processor: Process, image: Path, count: int) -> Numbers:
    """So many callers that no slot waits for one, as a long-poll may tell of the end a second late."""
    client = await start("thumbnail_client", api.url, image, count, CORES * CALLERS, *SMALL)
    try:
        assert await line(client, "thumbnail_client", 60) == "ready"
        everybody = (api.pid, processor.pid, ground.postgres_pid, ground.redis_pid)
        worked, whole = cpu(processor.pid), cpu(*everybody)
        told = await result(client, "thumbnail_client")
        return {
            "worker": count / (cpu(processor.pid) - worked),
            "whole": count / (cpu(*everybody) - whole),
            "core": count / told["seconds"] / CORES,
        }
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()


async def _loops(name: str, image: Path, count: int) -> Numbers:
    told = await asyncio.gather(
        *(program("thumbnail_loop", name, image, count, *SMALL) for _ in range(CORES))
    )
    done = count * len(told)
    per_cpu = done / sum(one["cpu"] for one in told)
    return {"worker": per_cpu, "whole": per_cpu, "core": sum(count / one["seconds"] for one in told) / CORES}


async def _isolation(area: Area, image: Path, count: int) -> Numbers:
    told = await program("isolation", image, count, *SMALL)
    note = f"Pillow of ours and of its bare loop: {told['pillow']}."
    if note not in area.notes:
        area.notes.append(note)
    return {"child": told["child"], "process": told["process"]}
