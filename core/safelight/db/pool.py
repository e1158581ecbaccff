"""The connection pool of a process, and the one place that knows how Postgres says "not now".

Called by each role's `app`. Works through PgBouncer in transaction mode: no LISTEN, no session locks, no
session settings, no server-side cursors, and no named statements where something is in between (`connect`).

Nothing here waits for ever: a call waits `SAFELIGHT_DATABASE_TIMEOUT` for a connection, as long for the
answer, and a fifth of it to hear that what it gave up is canceled. A server that does not say even that is
not slow, it is gone: a half-open socket. The other connections are likely no better, so all are made anew.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from safelight.config import Settings
from safelight.db.connect import Connection, Connector
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
    asyncpg.IdleInTransactionSessionTimeoutError,  # this process was frozen in the middle of a transaction
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCachedStatementError,  # a migration changed what it answers; the next try is planned anew
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
_FAREWELL = 0.2  # of the time limit: for what is no longer wanted
_CLOSING = 5.0  # seconds


class Pool(asyncpg.Pool):
    """A pool in which nobody waits for ever."""

    patience: float  # seconds; `open_pool` sets it

    def acquire(self, *, timeout: float | None = None) -> "PoolAcquireContext[asyncpg.Record]":
        """A connection, within the time limit."""
        return super().acquire(timeout=self.patience if timeout is None else timeout)

    async def release(
        self, connection: "PoolConnectionProxy[asyncpg.Record]", *, timeout: float | None = None
    ) -> None:
        """Takes a connection back. One whose statement was given up has to say that it is canceled."""
        try:
            await super().release(connection, timeout=timeout or self.patience * _FAREWELL)
        except TimeoutError:
            await self.expire_connections()
            raise


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[Pool]:
    """The pool, for as long as the block lasts.

    Connections are made when they are needed, so a process can start before Postgres does.
    """
    pool = Pool(
        settings.database_url,
        min_size=0,
        max_size=settings.database_pool,
        max_queries=50_000,
        max_inactive_connection_lifetime=60.0,
        loop=None,
        connection_class=Connection,
        record_class=asyncpg.Record,
        connect=Connector(settings).connect,
        # Nothing here leaves state in a session, so nothing has to be reset after every statement.
        reset=_leave_as_it_is,
        timeout=settings.database_timeout / 2,
        command_timeout=settings.database_timeout,
    )
    pool.patience = settings.database_timeout
    async with pool:
        try:
            yield pool
        finally:
            # A statement that hangs must not keep a process from stopping.
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
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
