"""Postgres and Redis as `safelight up` runs them: durable, private, and back after any crash."""

import os
import pwd
import signal
import subprocess
from contextlib import contextmanager

import asyncpg
import pytest
from redis.asyncio import Redis as Client

from safelight_cli.embedded import part as parts
from safelight_cli.embedded import postgres as module
from safelight_cli.embedded.part import CannotStartError
from safelight_cli.embedded.postgres import Postgres
from safelight_cli.embedded.redis import Redis
from support.servers import server_folder

_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture
def folder():
    with server_folder() as folder:
        yield folder


@contextmanager
def running(part, folder):
    with (folder / "log").open("ab") as log:
        process = parts.start(part, log)
    try:
        yield process
    finally:
        assert parts.stop(part, process) == 0 or process.returncode < 0


@contextmanager
def running_postgres(postgres, folder):
    postgres.prepare()
    try:
        with running(postgres.part(), folder) as process:
            yield process
    finally:
        postgres.close()


async def execute(postgres, statement):
    connection = await asyncpg.connect(postgres.dsn(), timeout=30)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_committed_is_there_after_a_crash(folder):
    with running_postgres(Postgres(folder / "postgres"), folder) as process:
        await execute(Postgres(folder / "postgres"), "create table kept as select 42 as answer")
        assert await execute(Postgres(folder / "postgres"), "show fsync") == "on"
        parts.kill(process)
    again = Postgres(folder / "postgres")
    with running_postgres(again, folder):
        assert await execute(again, "select answer from kept") == 42


async def test_a_stale_pid_file_that_names_a_living_stranger_is_no_obstacle(folder):
    postgres = Postgres(folder / "postgres")
    with running_postgres(postgres, folder) as process:
        parts.kill(process)
    owner = postgres.cluster.stat()
    # Of the same user: Postgres takes anybody else's process for none of its own.
    who = parts.as_user(owner.st_uid, owner.st_gid) if os.geteuid() == 0 else {}
    stranger = subprocess.Popen(["sleep", "600"], **who, cwd="/")  # noqa: ASYNC220
    try:
        file = postgres.cluster / "postmaster.pid"
        file.write_text("\n".join([str(stranger.pid), *file.read_text().splitlines()[1:]]) + "\n")
        with running_postgres(Postgres(folder / "postgres"), folder):
            assert await execute(postgres, "select 1") == 1
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_server_that_still_stops_is_waited_for(folder):
    postgres = Postgres(folder / "postgres")
    postgres.prepare()
    with (folder / "log").open("ab") as log:
        first = parts.start(postgres.part(), log)
    first.send_signal(signal.SIGINT)
    with running_postgres(Postgres(folder / "postgres"), folder):
        assert await execute(postgres, "select 1") == 1
    assert first.wait() == 0


def test_a_cluster_half_made_is_made_again(folder):
    (folder / "postgres" / "cluster.new" / "base").mkdir(parents=True)
    postgres = Postgres(folder / "postgres", durable=False)
    postgres.prepare()
    assert (postgres.cluster / "PG_VERSION").exists()
    assert not (folder / "postgres" / "cluster.new").exists()


def test_data_of_another_postgres_is_refused_with_a_sentence(folder):
    postgres = Postgres(folder / "postgres")
    postgres.cluster.mkdir()
    (postgres.cluster / "PG_VERSION").write_text("17\n")
    with pytest.raises(
        CannotStartError, match="was made by Postgres 17 and this is Postgres 18: move it away"
    ):
        postgres.prepare()


async def test_a_path_too_long_for_a_socket_gets_a_short_one(folder):
    deep = folder / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    postgres, redis = Postgres(deep / "postgres", durable=False), Redis(deep / "redis")
    assert not postgres.sockets.is_relative_to(folder)
    with running_postgres(postgres, folder):
        assert await execute(postgres, "select 1") == 1
    with running(redis.part(), folder):
        async with Client.from_url(redis.url) as client:
            assert await client.ping()
    redis.close()
    assert not postgres.sockets.exists()
    assert not redis.socket.parent.exists()


async def test_a_folder_with_spaces_and_quotes_will_do(folder):
    odd = folder / """my "odd", 100% folder's"""
    odd.mkdir(mode=0o755)
    postgres, redis = Postgres(odd / "postgres", durable=False), Redis(odd / "redis")
    with running_postgres(postgres, folder):
        assert await execute(postgres, "select current_database()") == "safelight"
    with running(redis.part(), folder):
        async with Client.from_url(redis.url) as client:
            assert await client.ping()


def test_only_its_owner_may_reach_the_servers(folder):
    postgres, redis = Postgres(folder / "postgres"), Redis(folder / "redis")
    for private in (postgres.sockets, postgres.cluster.parent, redis.socket.parent):
        assert private.stat().st_mode & 0o777 == 0o700
    assert postgres.dsn().startswith("postgresql://postgres@/safelight?host=")


@_AS_ROOT
async def test_below_a_folder_that_is_closed_to_nobody_the_cluster_lives_elsewhere(folder, monkeypatch):
    monkeypatch.setattr(module, "_SERVICE_HOMES", folder / "homes")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    postgres = Postgres(closed / "postgres", durable=False)
    with running_postgres(postgres, folder):
        await execute(postgres, "create table kept ()")
    assert (closed / "postgres").is_symlink()
    assert postgres.cluster.is_relative_to(folder / "homes")
    again = Postgres(closed / "postgres", durable=False)
    with running_postgres(again, folder):
        assert await execute(again, "select count(*) from kept") == 0


@_AS_ROOT
async def test_binaries_that_nobody_may_read_are_copied(folder, monkeypatch):
    readable = module._reachable
    monkeypatch.setattr(
        module, "_reachable", lambda path, user: "site-packages" not in str(path) and readable(path, user)
    )
    postgres = Postgres(folder / "postgres", durable=False)
    with running_postgres(postgres, folder):
        assert await execute(postgres, "select 1") == 1
    assert postgres.binary("postgres").is_relative_to(folder)


@_AS_ROOT
def test_a_way_that_is_barred_anywhere_is_seen(folder):
    nobody = pwd.getpwnam("nobody")
    (folder / "open" / "below").mkdir(parents=True)
    assert module._reachable(folder / "open" / "below", nobody)
    (folder / "open").chmod(0o750)
    assert not module._reachable(folder / "open" / "below", nobody)
    os.chown(folder / "open", 0, nobody.pw_gid)
    assert module._reachable(folder / "open" / "below", nobody)


async def test_redis_comes_back_after_a_crash_and_keeps_nothing_on_disk(folder):
    redis = Redis(folder / "redis")
    with running(redis.part(), folder) as process:
        async with Client.from_url(redis.url) as client:
            await client.set("hint", "lost")
            assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        parts.kill(process)
    with running(redis.part(), folder):
        async with Client.from_url(redis.url) as client:
            assert await client.get("hint") is None
    assert {file.name for file in (folder / "redis").iterdir()} <= {"redis.sock"}
