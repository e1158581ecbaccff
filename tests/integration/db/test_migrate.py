"""Migrations: applied once, in order, by whoever comes first; code refuses a schema it does not fit."""

import asyncio

import pytest

from safelight.db import migrate
from safelight.errors import Failure


@pytest.fixture
async def empty(postgres):
    name = await postgres.create(empty=True)
    yield postgres.dsn(name)
    await postgres.drop(name)


async def test_migrations_are_numbered_without_a_gap():
    assert [step.number for step in migrate.migrations()] == list(range(1, len(migrate.migrations()) + 1))


async def test_many_who_migrate_at_once_apply_each_migration_once(empty):
    names = [step.name for step in migrate.migrations()]

    answers = await asyncio.gather(*(migrate.migrate(empty) for _ in range(4)))

    assert sorted(name for answer in answers for name in answer) == names
    assert await migrate.migrate(empty) == []


async def test_a_database_that_is_not_there_or_not_ours_is_a_sentence(postgres):
    with pytest.raises(Failure, match='SAFELIGHT_DATABASE_URL: database "nowhere" does not exist'):
        await migrate.migrate(postgres.dsn("nowhere"))
    stranger = postgres.dsn().replace("postgres@", "stranger@")
    with pytest.raises(Failure, match='SAFELIGHT_DATABASE_URL: role "stranger" does not exist'):
        await migrate.migrate(stranger)
    with pytest.raises(Failure, match="SAFELIGHT_DATABASE_URL: invalid DSN"):
        await migrate.migrate("nonsense")


async def test_code_refuses_a_schema_that_is_older(pool):
    await pool.execute(
        "delete from schema_migration where number = (select max(number) from schema_migration)"
    )

    with pytest.raises(Failure, match="safelight migrate"):
        await migrate.check(pool)


@pytest.mark.parametrize(("ahead", "fits"), [(0, True), (1, False)])
async def test_code_runs_on_any_newer_schema_that_has_all_that_it_knows(pool, ahead, fits):
    newest = migrate.migrations()[-1].number
    step = migrate.Migration(newest + 9, "newer", f"-- Takes away what 1 made.\n-- needs: {newest + ahead}\n")
    await pool.execute(
        "insert into schema_migration (number, name, needs) values ($1, $2, $3)", *ledger(step)
    )

    if fits:
        await migrate.check(pool)
    else:
        with pytest.raises(Failure, match="too new"):
            await migrate.check(pool)


def ledger(step: migrate.Migration) -> tuple[int, str, int]:
    return step.number, step.name, step.needs
