"""A pipeline whose outside help is away: its queue is parked, not burnt, and goes on by itself."""

import asyncpg

from safelight.jobs.gates import Gates
from safelight.jobs.queue import JobQueue
from support.images import jpeg
from support.processes import api_process, processor_process
from support.watching import submit, until


async def pauses(database):
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        return await Gates(pool, JobQueue(pool)).pauses()


async def test_jobs_wait_for_help_that_is_away_and_lose_no_attempt(database, redis_url, tmp_path):
    image = jpeg(64, 48)
    down = tmp_path / "down"
    down.touch()
    tmp_path.chmod(0o755)
    async with (
        api_process(database, redis_url) as api,
        processor_process(database, redis_url, modules="support.hostile:away,support.hostile:noop", slots=2),
    ):
        jobs = [await submit(api.url, "away", image, down=str(down)) for _ in range(6)]
        await until(api.url, (await submit(api.url, "noop", image))["id"], "succeeded")
        while not (found := await pauses(database)):
            pass
        down.unlink()
        ended = [await until(api.url, job["id"], "succeeded", "failed") for job in jobs]

    assert [(pause.pipeline, pause.owner, pause.reason) for pause in found] == [
        ("away", "away", "The model does not answer.")
    ]
    assert {(job["state"], job["attempt"]) for job in ended} == {("succeeded", 1)}
