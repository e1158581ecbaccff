"""Applies migrations: numbered, forward-only, each in a transaction of its own, safe to run twice at once.

Called by `safelight migrate`, which a deployment runs before new code. A process calls `check` at
its start and refuses a schema it does not fit.
"""

from importlib.resources import files
from typing import NamedTuple

import asyncpg

from safelight.db.pool import MISFITS, misfit, outages
from safelight.db.statements import load
from safelight.errors import Failure

_SQL = load("safelight.db")
_LOCK = 5_381_921  # any number, the same for everybody who migrates this database


class Migration(NamedTuple):
    """`0001_jobs.sql`: its number, name and text."""

    number: int
    name: str
    text: str


def migrations() -> list[Migration]:
    """Every migration, in order."""
    folder = files("safelight.db") / "migrations"
    return sorted(
        Migration(int(entry.name[:4]), entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )


async def migrate(database_url: str) -> list[str]:
    """Brings the schema up to date; answers the names of what was applied.

    Raises:
        Failure: `setting_invalid`: there is no such database, or it is not open to us.
        OSError: Postgres is away.
    """
    try:
        connection = await asyncpg.connect(database_url, timeout=30, command_timeout=600)
    except MISFITS as error:
        raise misfit(error) from error
    try:
        return [step.name for step in migrations() if await _apply(connection, step)]
    finally:
        await connection.close(timeout=5)


async def _apply(connection: asyncpg.Connection, step: Migration) -> bool:
    async with connection.transaction():
        # Held to the end of the transaction, so it also works through PgBouncer.
        await connection.execute(_SQL["lock"], _LOCK)
        await connection.execute(_SQL["create_ledger"])
        if await connection.fetchval(_SQL["is_applied"], step.number):
            return False
        await connection.execute(step.text)
        await connection.execute(_SQL["note_applied"], step.number, step.name)
        return True


async def check(pool: asyncpg.Pool) -> None:
    """Whether this code fits the schema: its own version or one newer.

    Raises:
        Failure: `schema_mismatch` or `setting_invalid`, saying what to do; `unavailable`.
    """
    async with outages():
        try:
            found = await pool.fetchval(_SQL["version"])
        except asyncpg.UndefinedTableError:
            found = None
        except MISFITS as error:
            raise misfit(error) from error
    needed = migrations()[-1].number
    if found is None or found < needed:
        raise Failure(
            "schema_mismatch", "The database schema is older than this version: run `safelight migrate`."
        )
    if found > needed + 1:
        raise Failure(
            "schema_mismatch", "The database schema is too new for this version: deploy a newer one."
        )
