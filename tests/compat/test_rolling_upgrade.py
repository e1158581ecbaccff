"""Two releases side by side, as during a rolling upgrade: the last one (its wheel lies here, `make freeze`)
and this.

Until there was a release, this tree stands for it, so that the way itself is tried.
"""

import asyncio
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from safelight.db import migrate
from support.images import jpeg
from support.processes import Process, api_process, environment, processor_process
from support.watching import until

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
IMAGE = jpeg(640, 480)


class Release(NamedTuple):
    """A release that can be run: an interpreter that has its code and what that needs."""

    python: str
    newest: int  # of its migrations

    def migrate(self, database: str) -> str:
        """What its `safelight migrate` says."""
        return subprocess.run(
            [self.python, "-m", "safelight_cli", "migrate"],
            env=environment(database, "redis://127.0.0.1:1/0"),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release before this."""
    folder = tmp_path_factory.mktemp("old")
    wheel = next(HERE.glob("*.whl"), None) or _build(folder)
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "code")
    # A venv of its own, as a child is started without regard to PYTHONPATH. Libraries come from this one: a
    # path that is named in a .pth file is searched, and the .pth files in it, ours among them, are not read.
    venv.create(folder / "venv", symlinks=True)
    [packages] = (folder / "venv" / "lib").glob("*/site-packages")
    (packages / "old.pth").write_text(f"{folder / 'code'}\n{sysconfig.get_path('purelib')}\n")
    numbers = [int(path.name[:4]) for path in (folder / "code").glob("safelight/db/migrations/*.sql")]
    return Release(str(folder / "venv" / "bin" / "python"), max(numbers))


def _build(folder: Path) -> Path:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.fixture
async def empty(postgres):
    name = await postgres.create(empty=True)
    yield postgres.dsn(name)
    postgres.start()
    await postgres.drop(name)


async def submit(api: Process) -> str:
    async with httpx.AsyncClient(base_url=api.url, timeout=60) as http:
        answer = await http.post("/api/jobs?pipeline=transform", content=IMAGE)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


async def ended(api: Process, job: str) -> tuple[str, int]:
    found = await until(api.url, job, "succeeded", "failed")
    return found["state"], found["attempt"]


def where(python: str) -> str:
    """The folder from which an interpreter has its safelight."""
    say = "import safelight, pathlib; print(pathlib.Path(safelight.__file__).parents[1])"
    done = subprocess.run([python, "-I", "-c", say], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_old_release_is_run_from_its_own_code(old):
    assert where(old.python).endswith(f"{os.sep}code")
    assert where(sys.executable) == str(ROOT / "core")


def test_no_migration_takes_away_what_the_old_release_needs(old):
    """What it uses is taken away one release later, when nobody is left who uses it."""
    assert {step.name: step.needs for step in migrate.migrations() if step.needs > old.newest} == {}


async def test_pods_of_two_releases_work_side_by_side_from_before_the_migration_to_the_end_of_the_old_ones(
    old, empty, redis_url
):
    assert "applied 0001_jobs" in old.migrate(empty)
    async with (
        api_process(empty, redis_url, python=old.python) as old_api,
        processor_process(empty, redis_url, python=old.python) as old_processor,
    ):
        assert await ended(old_api, await submit(old_api)) == ("succeeded", 1)
        async with (
            api_process(empty, redis_url, ready=False) as new_api,
            processor_process(empty, redis_url, ready=False) as new_processor,
        ):
            await migrate.migrate(empty)
            for role in (new_api, new_processor):
                await role.until_ready()
            jobs = [await submit(api) for api in (old_api, new_api) * 6]
            # Each reads what the other has accepted, while both run it.
            assert await asyncio.gather(
                *(ended(api, job) for job, api in zip(jobs, (new_api, old_api) * 6, strict=True))
            ) == [("succeeded", 1)] * len(jobs)
            assert old_api.is_ready()
            assert old_processor.is_ready()

            jobs = [await submit(old_api) for _ in range(6)]
            assert [await old_processor.stop(), await old_api.stop()] == [0, 0]
            jobs.append(await submit(new_api))
            assert [await ended(new_api, job) for job in jobs] == [("succeeded", 1)] * len(jobs)


async def test_code_that_is_newer_than_its_schema_lives_and_waits_for_the_migration(
    empty, redis_url, monkeypatch
):
    steps = migrate.migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: steps[:-1])
    await migrate.migrate(empty)
    monkeypatch.setattr(migrate, "migrations", lambda: steps)
    async with (
        api_process(empty, redis_url, ready=False) as api,
        processor_process(empty, redis_url, ready=False) as processor,
    ):
        for role in (api, processor):
            await role.until(lambda role=role: "run `safelight migrate`" in role.logs(), "saying it")
            assert not role.is_ready()
        assert await migrate.migrate(empty) == [steps[-1].name]
        for role in (api, processor):
            await role.until_ready()
            assert "loop.died" not in role.logs()
        assert await ended(api, await submit(api)) == ("succeeded", 1)
