"""A role started by hand: what is set wrong is one sentence, and what is not there yet is waited for."""

import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from safelight.db.migrate import migrate
from support.ports import free_port
from support.processes import api_process, environment, processor_process

ROLES = {"api": api_process, "processor": processor_process}


def refused(role: str, **settings: object) -> str:
    """The sentence with which a role says no, the last of what it says; with exit code 2."""
    database = str(settings.pop("database_url", "postgresql://127.0.0.1:1/none"))
    env = environment(database, str(settings.pop("redis_url", "redis://")), **settings)
    done = subprocess.run(
        [sys.executable, "-m", f"safelight_{role}"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    [sentence] = done.stderr.splitlines()
    return sentence


@pytest.mark.parametrize(("role", "setting"), [("api", "port"), ("processor", "health_port")])
def test_a_taken_port_is_a_sentence(role, setting):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # the kernel's choice: no connection lingers there
        taken.listen()
        port = taken.getsockname()[1]

        sentence = refused(role, **{setting: port})

    assert sentence.startswith(f"SAFELIGHT_{setting.upper()}: 127.0.0.1:{port}: ")
    assert sentence.endswith("ddress already in use")


@pytest.mark.parametrize(("role", "setting"), [("api", "port"), ("processor", "health_port")])
def test_a_host_that_is_none_is_a_sentence(role, setting):
    port = free_port()
    sentence = refused(role, host="no.such.host.invalid", **{setting: port})

    assert sentence.startswith(f"SAFELIGHT_{setting.upper()}: no.such.host.invalid:{port}: ")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("database_url", "postgres//nonsense"),
        ("database_url", "postgresql://u:hunter2@host:port/db"),
        ("database_url", "postgresql://u:hunter2/x@host/db"),
        ("redis_url", "nonsense"),
        ("redis_url", "redis://:hunter2@host:port/0"),
        ("redis_url", "redis://:hunter2/x@host/0"),
        ("storage_url", "nonsense"),
    ],
)
def test_an_address_that_is_none_is_a_sentence_without_its_secrets(role, setting, address):
    ports = {"port": free_port(), "health_port": free_port()}
    sentence = refused(role, **ports, **{setting: address})

    assert sentence.startswith(f"SAFELIGHT_{setting.upper()}: ")
    assert "hunter2" not in sentence


def test_a_scratch_folder_that_cannot_be_used_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    sentence = refused("processor", health_port=free_port(), scratch=tmp_path / "file" / "scratch")

    assert sentence == f"SAFELIGHT_SCRATCH: {tmp_path}/file/scratch: Not a directory"


@asynccontextmanager
async def waiting(role: str, database: str, redis_url: str, words: str):
    """A role that has said these words, and is still there."""
    async with ROLES[role](database, redis_url, ready=False) as process:
        await process.until(lambda: words in process.logs(), "a sentence")
        assert not process.is_ready()
        yield process
        assert "Traceback" not in process.logs()


@pytest.mark.parametrize("role", ROLES)
async def test_a_database_that_does_not_exist_is_a_sentence_and_waited_for(postgres, redis_url, role):
    name = f"late_{uuid4().hex}"
    words = rf"SAFELIGHT_DATABASE_URL: database \"{name}\" does not exist"
    async with waiting(role, postgres.dsn(name), redis_url, words) as process:
        await postgres.rename(await postgres.create(), name)
        await process.until_ready()
    await postgres.drop(name)


@pytest.mark.parametrize("role", ROLES)
async def test_a_database_that_is_not_migrated_is_a_sentence_and_waited_for(postgres, redis_url, role):
    name = await postgres.create(empty=True)
    async with waiting(role, postgres.dsn(name), redis_url, "run `safelight migrate`") as process:
        await migrate(postgres.dsn(name))
        await process.until_ready()
    await postgres.drop(name)
