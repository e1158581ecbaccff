"""How a process gets a connection to Postgres: directly, or through PgBouncer in transaction mode.

Called by `pool`. Behind such a pooler two statements of a connection may run in two sessions, so none may
get a name in one and be called by it in the other. `SAFELIGHT_DATABASE_PREPARE=auto` finds out whether
there is a pooler: the session that answers is not the one that this connection was told of.
"""

import socket
from typing import Any

import asyncpg

from safelight.config import Settings
from safelight.db.statements import load

_SQL = load("safelight.db")
_CACHED = 100  # statements of a connection
# Seconds of the time limit until a silent connection is tried, and between two tries. After three it is dead.
_IDLE, _AGAIN, _TRIES = 1.0, 0.2, 3
_UNANSWERED = 0.5  # likewise, for what was sent and not acknowledged


class Connection(asyncpg.Connection):
    """A connection that is dropped when it does not say farewell."""

    async def close(self, *, timeout: float | None = None) -> None:
        """Says farewell; whoever does not answer is gone all the same."""
        try:
            await super().close(timeout=timeout)
        except (TimeoutError, OSError):
            self.terminate()


class Connector:
    """Makes the connections of a pool."""

    def __init__(self, settings: Settings) -> None:
        # None: not known. A direct connection may be followed by one through a pooler, so each is looked at.
        self._prepare = {"on": True, "off": False}.get(settings.database_prepare)
        self._seconds = settings.database_timeout

    async def connect(self, *args: Any, **kwargs: Any) -> asyncpg.Connection:
        """A connection, with named statements where they are safe."""
        if self._prepare is not False:
            connection = await self._open(*args, **kwargs, statement_cache_size=_CACHED)
            if self._prepare or await self._is_direct(connection):
                return connection
            self._prepare = False
            await connection.close()
        return await self._open(*args, **kwargs, statement_cache_size=0)

    async def _open(self, *args: Any, **kwargs: Any) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(*args, **kwargs)
        transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001  nobody else has it
        notice_silence(transport.get_extra_info("socket"), self._seconds)
        return connection

    async def _is_direct(self, connection: asyncpg.Connection) -> bool:
        # As one message without parameters, which needs no name; the answer is in its tag.
        statement = _SQL["is_direct"].replace("$1", str(connection.get_server_pid()))
        return str(await connection.execute(statement)) == "SELECT 1"


def notice_silence(connection: socket.socket, seconds: float) -> None:
    """Has the kernel end a connection whose other side has vanished: a pulled cable, a forgetful NAT.

    What a time limit of ours cannot notice: a connection that nobody is using at that moment.
    """
    if connection.family == getattr(socket, "AF_UNIX", None):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in {
        "TCP_KEEPIDLE": max(1, round(seconds * _IDLE)),
        "TCP_KEEPINTVL": max(1, round(seconds * _AGAIN)),
        "TCP_KEEPCNT": _TRIES,
        "TCP_USER_TIMEOUT": round(seconds * _UNANSWERED * 1000),
    }.items():
        if hasattr(socket, option):  # not every system has all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
