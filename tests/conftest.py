"""Fixtures that every test may ask for. What they stand on is in tests/support.

postgres    the worker's Postgres server        database   address of a fresh, migrated database
redis       the worker's Redis server           redis_url  address of it, emptied
pool        a pool on `database`                through_pgbouncer  `database`, behind a PgBouncer
"""

from collections.abc import AsyncIterator, Generator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from safelight.config import Settings
from safelight.db.pool import open_pool
from support import processes
from support.pgbouncer import PgBouncer, pgbouncer
from support.requires import require
from support.servers import PostgresServer, RedisServer, postgres_server, redis_server

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("safelight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("safelight")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips, or under REQUIRE_ALL=1 fails, a test whose tools are not there."""
    processes.started.clear()
    for mark in item.iter_markers("requires"):
        for tool in mark.args:
            require(tool)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows with a failed test what its processes said."""
    report = yield
    if report.failed:
        report.sections += processes.report()
    return report


_ONE_SERVICE = ("tests/browser/", "tests/integration/api/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a module that share one running service stay on one worker."""
    for item in items:
        path = item.path.relative_to(item.config.rootpath).as_posix()
        if path.startswith(_ONE_SERVICE):
            item.add_marker(pytest.mark.xdist_group(path))


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """Kept for all tests of a worker; ask for `postgres`, which makes sure that it runs."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """Kept for all tests of a worker; ask for `redis`, which makes sure that it runs."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_pgbouncer(shared_postgres: PostgresServer) -> Iterator[PgBouncer]:
    """Kept for all tests of a worker, in front of its Postgres."""
    with pgbouncer(shared_postgres) as server:
        yield server


@pytest.fixture
def postgres(shared_postgres: PostgresServer) -> PostgresServer:
    """The server, running, whatever the test before did to it."""
    shared_postgres.start()
    return shared_postgres


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """The server, running, whatever the test before did to it."""
    shared_redis.start()
    return shared_redis


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    """Address of a migrated database that nobody has used yet."""
    name = await postgres.create()
    yield postgres.dsn(name)
    postgres.start()
    await postgres.drop(name)


@pytest.fixture
def through_pgbouncer(shared_pgbouncer: PgBouncer, database: str) -> str:
    """Address of the same database behind PgBouncer in transaction mode."""
    return shared_pgbouncer.dsn(urlsplit(database).path.lstrip("/"))


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on `database`."""
    async with open_pool(Settings(database_url=database, database_pool=10, database_timeout=30)) as pool:
        yield pool


@pytest.fixture
async def redis_url(redis: RedisServer) -> str:
    """Address of an empty Redis."""
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
    return redis.url
