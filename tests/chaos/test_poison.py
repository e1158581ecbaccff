"""Images that bring their pipeline down: each ends typed, within its limits, and hurts nobody else."""

import asyncio
import json

import httpx
import pytest

from support import images
from support.processes import api_process, processor_process
from support.watching import metric, submit, until

MODULES = ",".join(
    [*(f"support.hostile:{name}" for name in ("segfault", "memory", "exit_", "slow")), "support.poison:loop"]
)


async def test_every_kind_of_poison_is_one_typed_failure_and_its_neighbours_go_on(database, redis_url):
    image = images.jpeg(200, 150)
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules=MODULES, slots=2, retry_seconds=0.1) as processor,
    ):
        neighbour = (await submit(api.url, "slow", image, seconds=6, steps=60))["id"]
        jobs = {
            "quarantined": await submit(api.url, "hostile-segfault", image),
            "memory_exceeded": await submit(api.url, "hostile-memory", image),
            "deadline_exceeded": await submit(api.url, "poison-loop", image),
            "image_damaged": await submit(api.url, "transform", images.truncated_jpeg()),
        }
        exited = await submit(api.url, "hostile-exit", image)

        ended = {code: await until(api.url, job["id"], "failed") for code, job in jobs.items()}
        assert {code: job["error"]["code"] for code, job in ended.items()} == {code: code for code in jobs}
        assert {code: job["attempt"] for code, job in ended.items()} == dict.fromkeys(jobs, 1) | {
            "quarantined": 2
        }
        assert (await until(api.url, exited["id"], "failed"))["error"]["code"] == "quarantined"

        whole = await until(api.url, neighbour, "succeeded")
        assert whole["attempt"] == 1
        after = await submit(api.url, "transform", image)
        assert (await until(api.url, after["id"], "succeeded"))["outputs"]
        assert processor.is_alive()
        async with httpx.AsyncClient(base_url=processor.url) as http:
            # The counters follow every few seconds.
            async with asyncio.timeout(20):
                while metric((await http.get("/metrics")).text, "safelight_child_crashes_total") < 4:
                    await asyncio.sleep(0.1)


@pytest.mark.parametrize("pipeline", ["transform", "restore"])
async def test_the_outputs_of_a_real_pipeline_can_be_fetched_and_are_images(database, redis_url, pipeline):
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, slots=1),
        httpx.AsyncClient(base_url=api.url, timeout=60) as http,
    ):
        params = {"width": 100} if pipeline == "transform" else {"scale": 2}
        answer = await http.post(
            "/api/jobs",
            params={"pipeline": pipeline, "params": json.dumps(params)},
            content=images.jpeg(320, 240),
        )
        job = await until(api.url, answer.json()["id"], "succeeded", "failed")

        assert job["error"] is None
        [output] = job["outputs"]
        assert output["width"] == (100 if pipeline == "transform" else 640)
        body = (await http.get(output["href"])).content
        assert body.startswith(b"\xff\xd8\xff")
        assert len(body) == output["bytes"]
