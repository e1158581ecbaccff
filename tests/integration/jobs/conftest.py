import asyncpg
import pytest

from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Retention


@pytest.fixture
def queue(pool: asyncpg.Pool) -> JobQueue:
    return JobQueue(pool)


@pytest.fixture
def retention(pool: asyncpg.Pool) -> Retention:
    return Retention(pool)
