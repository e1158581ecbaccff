"""A running service for the tests of a module: one API pod with two processes, one processor."""

import asyncio
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support.images import jpeg
from support.ports import free_port
from support.processes import Process, environment
from support.servers import PostgresServer, RedisServer

PIPELINES = ",".join(f"support.hostile:{name}" for name in ("noop", "slow", "echo", "flaky"))
LIMITS = {"max_upload_bytes": 90_000_000, "max_pixels": 110_000_000, "max_side": 65_535, "ping_seconds": 0.5}


class Service(NamedTuple):
    """Where it answers, and what it stands on."""

    url: str
    database: str
    api: Process


def run_service(postgres: PostgresServer, redis: RedisServer, **settings: object) -> Iterator[Service]:
    postgres.start()
    redis.start()
    name = asyncio.run(postgres.create())
    database, port, health = postgres.dsn(name), free_port(), free_port()
    given = {
        **LIMITS,
        "pipeline_modules": PIPELINES,
        "workers": 2,
        "port": port,
        "health_port": health,
        **settings,
    }
    env = environment(database, redis.url, **given)
    api = Process("api", [sys.executable, "-m", "safelight_api"], env, port)
    processor = Process("processor", [sys.executable, "-m", "safelight_processor"], env, health)
    try:
        asyncio.run(api.until_ready())
        asyncio.run(processor.until_ready())
        yield Service(api.url, database, api)
    finally:
        api.kill()
        processor.kill()
        asyncio.run(postgres.drop(name))


@pytest.fixture(scope="module")
def service(shared_postgres: PostgresServer, shared_redis: RedisServer) -> Iterator[Service]:
    yield from run_service(shared_postgres, shared_redis, slots=2)


@pytest.fixture(scope="module")
def guarded(shared_postgres: PostgresServer, shared_redis: RedisServer) -> Iterator[Service]:
    """The same, and it asks for keys."""
    yield from run_service(shared_postgres, shared_redis, slots=1, auth="keys")


@pytest.fixture(scope="session")
def image() -> bytes:
    return jpeg(320, 240)
