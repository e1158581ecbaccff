"""The connection pool of a process, and the one place that knows how Postgres says "not now".

Called by each role's `app`. Works through PgBouncer in transaction mode: no LISTEN, no session
locks, no session settings, no server-side cursors.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from safelight.config import Settings
from safelight.errors import Failure

# What a statement raises while Postgres is away, restarting, or out of connections.
OUTAGES: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection says that was killed in the middle of a statement
    asyncpg.InsufficientResourcesError,  # connections, memory, disk
    asyncpg.OperatorInterventionError,  # shutdown, restart, statement timeout
    asyncpg.TransactionRollbackError,  # deadlock
    asyncpg.ReadOnlySQLTransactionError,  # a replica, just before it takes over
    asyncpg.LockNotAvailableError,
)
# What is said when the address leads to no database, to one that is not open to us, or not migrated.
# People put that right while processes wait: the end of one would only be another start that fails.
MISFITS: tuple[type[BaseException], ...] = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
)


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """The pool, for as long as the block lasts.

    Connections are made when they are needed, so a process can start before Postgres does.
    """
    pool = asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        max_size=settings.database_pool,
        timeout=settings.database_timeout,
        command_timeout=settings.database_timeout,
        max_inactive_connection_lifetime=60.0,
        # Nothing here leaves state in a session, so nothing has to be reset after every statement.
        reset=_leave_as_it_is,
    )
    async with pool:
        try:
            yield pool
        finally:
            # A statement that hangs must not keep a process from stopping.
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await pool.close()
            pool.terminate()


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """In place of a round trip."""


@asynccontextmanager
async def outages() -> AsyncIterator[None]:
    """Turns what Postgres raises while it is away, or not fit for us, into `Failure("unavailable")`.

    A value that it cannot take (a NUL in a text, a date without a zone) is the caller's: `bad_request`.
    """
    try:
        yield
    except asyncpg.DataError as error:
        raise Failure("bad_request") from error
    except (*MISFITS, *OUTAGES) as error:
        raise Failure("unavailable") from error


def misfit(error: BaseException) -> Failure:
    """The sentence for whoever set the address. It says what Postgres said, so it is not for a client."""
    words = str(error).partition("\n")[0]
    return Failure("setting_invalid", f"SAFELIGHT_DATABASE_URL: {words}")
