import asyncpg
import pytest

from safelight.jobs.queue import JobQueue


@pytest.fixture
def queue(pool: asyncpg.Pool) -> JobQueue:
    return JobQueue(pool)
