"""Applies migrations: numbered, forward-only, each in a transaction of its own, safe to run twice at once.

Called by `safelight migrate`, which a deployment runs before new code. A process calls `check` again and
again, and is not ready while its code and the schema do not fit.

Code of the release before has to run on the new schema. A migration that takes away what no release uses any
more says so in a line of its own: `-- needs: 7`, the newest migration that code has to know to run after it.
The ledger keeps that, so older code hears of it too, and is no longer ready.
"""

import asyncio
import re
from importlib.resources import files
from typing import NamedTuple

import asyncpg

from safelight.db.pool import MISFITS, misfit, outages
from safelight.db.statements import load
from safelight.errors import Failure

_SQL = load("safelight.db")
_LOCK = 5_381_921  # any number, the same for everybody who migrates this database
_SECONDS = 600.0  # for one migration
# Who waits for a lock on a table makes everybody wait who comes later: better to let them by, and try again.
_PATIENCE_MS, _TRIES, _PAUSE = 500, 100, 1.0
_NEEDS = re.compile(r"^-- needs: (\d+)\b", re.MULTILINE)


class Migration(NamedTuple):
    """`0001_jobs.sql`: its number, name and text."""

    number: int
    name: str
    text: str

    @property
    def needs(self) -> int:
        """The newest migration that code has to know to run after this one; 0 when it takes nothing away."""
        said = _NEEDS.search(self.text)
        return int(said[1]) if said else 0


def migrations() -> list[Migration]:
    """Every migration, in order."""
    folder = files("safelight.db") / "migrations"
    return sorted(
        Migration(int(entry.name[:4]), entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )


async def migrate(database_url: str, limit: float | None = None) -> list[str]:
    """Brings the schema up to date; answers the names of what was applied.

    Args:
        database_url: of the database.
        limit: seconds for one statement. The server then keeps time limits for this role in this database,
            beside those that each process keeps itself; in new sessions, also behind a pooler.

    Raises:
        Failure: `setting_invalid`: there is no such database, or it is not open to us.
        OSError: Postgres is away.
    """
    try:
        # Without named statements, which a pooler would leave in a session of somebody else.
        connection = await asyncpg.connect(
            database_url, timeout=30, command_timeout=_SECONDS, statement_cache_size=0
        )
    except MISFITS as error:
        raise misfit(error) from error
    try:
        applied = [step.name for step in migrations() if await _patiently(connection, step)]
        if limit is not None and await _limit(connection, limit):
            applied.append(f"time limits, {limit:g} s for a statement")
        return applied
    finally:
        await connection.close(timeout=5)


async def _patiently(connection: asyncpg.Connection, step: Migration) -> bool:
    for _ in range(_TRIES):
        try:
            return await _apply(connection, step)
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(_PAUSE)
    return await _apply(connection, step)


async def _apply(connection: asyncpg.Connection, step: Migration) -> bool:
    async with connection.transaction():
        await _begin(connection)
        await connection.execute(_SQL["create_ledger"])
        if await connection.fetchval(_SQL["is_applied"], step.number):
            return False
        await connection.fetch(_SQL["wait_for_locks"], str(_PATIENCE_MS))
        await connection.execute(step.text)
        await connection.execute(_SQL["note_applied"], step.number, step.name, step.needs)
        return True


async def _limit(connection: asyncpg.Connection, seconds: float) -> bool:
    async with connection.transaction():
        await _begin(connection)
        statements = await connection.fetch(_SQL["limits"], seconds)
        for statement in statements:
            await connection.execute(statement[0])
    return bool(statements)


async def _begin(connection: asyncpg.Connection) -> None:
    """One at a time. What is set and locked here ends with the transaction, so PgBouncer does not mind."""
    await connection.fetch(_SQL["unlimited"])
    await connection.execute(_SQL["lock"], _LOCK)


async def check(pool: asyncpg.Pool) -> None:
    """Whether this code fits the schema: all that it knows is there, nothing that it needs was taken away.

    Raises:
        Failure: `schema_mismatch` or `setting_invalid`, saying what to do; `unavailable`.
    """
    async with outages():
        try:
            found = await pool.fetchrow(_SQL["version"])
        except asyncpg.UndefinedTableError:
            found = None
        except MISFITS as error:
            raise misfit(error) from error
    known = migrations()[-1].number
    if found is None or found["number"] is None or found["number"] < known:
        raise Failure(
            "schema_mismatch", "The database schema is older than this version: run `safelight migrate`."
        )
    if found["needs"] > known:
        raise Failure(
            "schema_mismatch", "The database schema is too new for this version: deploy a newer one."
        )
