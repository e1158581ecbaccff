"""Here servers die: what Postgres has said to be committed must be there when it comes back."""

from collections.abc import AsyncIterator

import pytest

from support.servers import PostgresServer


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    """As in tests/conftest.py, and it commits before it says so."""
    name = await postgres.create(lasting=True)
    yield postgres.dsn(name)
    postgres.start()
    await postgres.drop(name)
