"""The queue is tried twice: over a connection of its own, and over sessions that PgBouncer shares out."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Retention


@pytest.fixture(params=["direct", "pgbouncer"])
def address(request: pytest.FixtureRequest, database: str) -> str:
    """Of the database, either way."""
    return database if request.param == "direct" else str(request.getfixturevalue("through_pgbouncer"))


@pytest.fixture
async def pool(address: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(Settings(database_url=address, database_pool=10)) as pool:
        yield pool


@pytest.fixture
def queue(pool: asyncpg.Pool) -> JobQueue:
    return JobQueue(pool)


@pytest.fixture
def retention(pool: asyncpg.Pool) -> Retention:
    return Retention(pool)
