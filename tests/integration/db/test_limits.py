"""Time limits that the server keeps itself, for sessions whose process is frozen, cut off or mistaken."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from safelight.db import migrate
from safelight.db.migrate import Migration

LIMIT = 0.5
# What a client says when its session was ended: it depends on the moment.
ENDED = (
    asyncpg.TransactionTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_HELD = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation where relname = 'tenant'"


@pytest.fixture
async def limited(database: str) -> str:
    """Address of a database in which our role has limits."""
    assert await migrate.migrate(database, LIMIT) == ["time limits, 0.5 s for a statement"]
    return database


@pytest.fixture(params=["direct", "pgbouncer"])
def address(request: pytest.FixtureRequest, limited: str) -> str:
    """Of it, either way."""
    return limited if request.param == "direct" else str(request.getfixturevalue("through_pgbouncer"))


@pytest.fixture
async def connection(address: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that has no limits of its own."""
    connection = await asyncpg.connect(address, statement_cache_size=0)
    yield connection
    connection.terminate()


async def closed(connection: asyncpg.Connection) -> None:
    """Waits until the other side has closed it."""
    async with asyncio.timeout(20):
        while not connection.is_closed():
            await asyncio.sleep(0.02)


async def test_a_statement_that_takes_too_long_is_ended(connection):
    with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
        await connection.fetchval("select pg_sleep(20)")


async def test_who_waits_too_long_for_a_lock_is_told_so(connection, pool):
    async with pool.acquire() as other, other.transaction():
        await other.execute("lock table tenant")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.fetchval("select count(*) from tenant")


async def test_a_transaction_that_idles_is_ended_and_its_locks_are_free(connection, pool):
    await connection.execute("begin; lock table tenant")
    assert await pool.fetchval(_HELD) == 1

    await closed(connection)

    assert await pool.fetchval(_HELD) == 0


async def test_a_transaction_that_never_comes_to_its_end_is_ended(connection, pool):
    await connection.execute("begin; lock table tenant")

    async def go_on() -> None:
        while True:
            await connection.fetchval("select pg_sleep(0.05)")

    with pytest.raises(ENDED):
        await asyncio.wait_for(go_on(), 20)

    assert await pool.fetchval(_HELD) == 0


async def test_limits_are_set_once_and_follow_the_setting(limited):
    assert await migrate.migrate(limited, LIMIT) == []
    assert await migrate.migrate(limited) == []
    assert await migrate.migrate(limited, 20) == ["time limits, 20 s for a statement"]

    connection = await asyncpg.connect(limited)
    assert await connection.fetchval("show statement_timeout") == "18s"
    await connection.close()


async def test_limits_are_of_one_role_in_one_database(limited, postgres):
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute("create role reader login")
    other = await asyncpg.connect(limited.replace("postgres@", "reader@"))

    assert await connection.fetchval("show statement_timeout") == "0"
    assert await other.fetchval("show statement_timeout") == "0"
    await other.close()
    await connection.execute("drop role reader")
    await connection.close()


async def test_a_role_without_any_privilege_sets_its_own(postgres):
    name = await postgres.create(empty=True)
    admin = await asyncpg.connect(postgres.dsn(name))
    await admin.execute("create role plain login; grant create on schema public to plain")
    address = postgres.dsn(name).replace("postgres@", "plain@")

    await migrate.migrate(address, LIMIT)

    connection = await asyncpg.connect(address)
    assert await connection.fetchval("show idle_in_transaction_session_timeout") == "500ms"
    await connection.close()
    await admin.execute("drop owned by plain; drop role plain")
    await admin.close()
    await postgres.drop(name)


# Migrations


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Migration]]:
    """One more migration than there are."""
    real = migrate.migrations()
    steps = [*real]
    monkeypatch.setattr(migrate, "migrations", lambda: steps)
    return steps


def later(steps: list[Migration], text: str) -> str:
    number = steps[-1].number + 1
    steps.append(Migration(number, f"{number:04}_later", text))
    return steps[-1].name


async def test_a_migration_may_take_longer_than_a_statement(limited, step):
    name = later(step, "select pg_sleep(1.5)")

    assert await migrate.migrate(limited) == [name]


async def test_a_migration_that_waits_for_a_lock_lets_others_by(database, step, pool, monkeypatch):
    monkeypatch.setattr(migrate, "_PATIENCE_MS", 100)
    monkeypatch.setattr(migrate, "_PAUSE", 0.1)
    name = later(step, "alter table tenant add column later integer")
    async with pool.acquire() as other, other.transaction():
        await other.execute("select from tenant")  # a reader that takes its time
        migrating = asyncio.create_task(migrate.migrate(database))
        for _ in range(5):
            await asyncio.sleep(0.1)
            async with asyncio.timeout(5):
                assert await pool.fetchval("select count(*) from tenant") == 1
        assert not migrating.done()

    assert await migrating == [name]
