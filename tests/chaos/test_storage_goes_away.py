"""The store or the folder for running jobs is away: jobs wait for it, and lose no attempt."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from support.images import jpeg
from support.processes import Process, api_process, processor_process
from support.watching import submit, until

MODULES = "support.hostile:echo,support.hostile:gate"
TIMES = 4  # more than a job has attempts


@pytest.fixture
def image() -> bytes:
    return jpeg(320, 240)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """In place of the folder a link to itself, over which everybody stumbles, root too."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.symlink_to(folder)
    yield
    folder.unlink()
    aside.rename(folder)


@asynccontextmanager
async def one_machine(database: str, redis_url: str, folder: Path) -> AsyncIterator[Process]:
    """An API pod and a processor with one slot, over a store of files."""
    settings = {"storage_url": f"file://{folder}/store", "retry_seconds": 0.05, "poll_seconds": 0.1}
    scratch = folder / "scratch"
    async with (
        api_process(database, redis_url, **settings) as api,
        processor_process(database, redis_url, modules=MODULES, slots=1, scratch=scratch, **settings),
    ):
        yield api


async def occupy(api: Process, image: bytes, gate: Path) -> None:
    """Takes the one slot until there is a file `gate`: what is submitted meanwhile has to wait."""
    job = (await submit(api.url, "gate", image, file=str(gate)))["id"]
    await until(api.url, job, "running")


async def story(api: Process, job: str) -> list[str]:
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
        return [event["reason"] for event in (await http.get(f"/api/jobs/{job}/events")).json()["events"]]


async def until_handed_back(api: Process, job: str) -> None:
    async with asyncio.timeout(60):
        while (await story(api, job)).count("released") < TIMES:
            await asyncio.sleep(0.05)


async def assert_whole(api: Process, job: str) -> None:
    """It succeeds, in what counts as its first attempt."""
    ended = await until(api.url, job, "succeeded", "failed")
    assert (ended["state"], ended["attempt"], ended["error"]) == ("succeeded", 1, None)
    assert set(await story(api, job)) == {"submitted", "claimed", "released", "completed"}


@pytest.mark.parametrize("folder", ["store", "store/.partial"], ids=["nothing is read", "nothing is written"])
async def test_a_job_waits_for_a_store_that_is_away(database, redis_url, image, tmp_path, folder):
    gate = tmp_path / "gate"
    async with one_machine(database, redis_url, tmp_path) as api:
        await occupy(api, image, gate)
        job = (await submit(api.url, "echo", image))["id"]
        with away(tmp_path / folder):
            gate.touch()
            await until_handed_back(api, job)
        await assert_whole(api, job)


async def test_a_job_waits_for_a_scratch_folder_that_is_away(database, redis_url, image, tmp_path):
    async with one_machine(database, redis_url, tmp_path) as api:
        [scratch] = (tmp_path / "scratch").iterdir()
        with away(scratch):
            job = (await submit(api.url, "echo", image))["id"]
            await until_handed_back(api, job)
        await assert_whole(api, job)


async def test_half_a_result_does_not_stay_in_a_store_that_took_no_more(database, redis_url, image, tmp_path):
    async with (
        one_machine(database, redis_url, tmp_path) as api,
        httpx.AsyncClient(base_url=api.url, timeout=60) as http,
    ):
        await occupy(api, image, tmp_path / "gate")
        files = [("file", ("a.jpg", image)), ("file", ("b.jpg", image))]
        job = (await http.post("/api/jobs", data={"pipeline": "echo"}, files=files)).json()["id"]
        [folder] = (tmp_path / "store").glob(f"*/{job}")
        # Where the second output of the first run belongs, there is something else already.
        (folder / "out" / "1" / "echo-1.jpeg" / "full").mkdir(parents=True)
        (tmp_path / "gate").touch()
        await assert_whole(api, job)

    assert [path.relative_to(folder).as_posix() for path in sorted(folder.glob("out/*/*"))] == [
        "out/2/echo-0.jpeg",
        "out/2/echo-1.jpeg",
    ]
