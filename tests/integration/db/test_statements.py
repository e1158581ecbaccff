"""Every SQL file has a header, is loaded, is understood by Postgres, and its plan uses the index it names."""

import re
from pathlib import Path

import pytest

import safelight

ROOT = Path(safelight.__file__).parent
FILES = sorted(ROOT.glob("*/sql/*.sql"))
PARTITION = re.compile(r"(done|forgotten)_(\d{6,8}|unplaced)_")
INDEX = re.compile(r"Index: ((?:[a-z_]+(?:, )?)+)")


def name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.stem}"


def header(path: Path) -> str:
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("--"))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_statement_says_what_it_is_for(path):
    assert path.read_text().startswith("-- ")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_statement_is_used_by_the_room_it_stands_in(path):
    code = "".join(source.read_text() for source in path.parent.parent.glob("*.py"))

    assert f'"{path.stem}"' in code


@pytest.mark.parametrize("path", FILES, ids=name)
async def test_a_statement_is_understood_by_postgres(path, pool):
    async with pool.acquire() as connection:
        await connection.prepare(path.read_text())


@pytest.mark.parametrize("path", [path for path in FILES if INDEX.search(header(path))], ids=name)
async def test_a_plan_uses_the_index_that_its_header_names(path, pool):
    named = INDEX.search(header(path))
    assert named is not None
    wanted = {word for word in named[1].split(", ") if "_" in word}
    async with pool.acquire() as connection, connection.transaction():
        # Tables are empty here, where a scan is always cheapest; what counts is that the index can serve.
        for way in ("seqscan", "hashjoin", "mergejoin", "sort"):
            await connection.execute(f"set local enable_{way} = off")
        text = path.read_text()
        count = len((await connection.prepare(text)).get_parameters())
        await connection.execute(
            f"set local plan_cache_mode = force_generic_plan; prepare looked_at as {text}"
        )
        values = f"({', '.join(['null'] * count)})" if count else ""
        rows = await connection.fetch(f"explain execute looked_at{values}")
        await connection.execute("deallocate looked_at")
    plan = PARTITION.sub(r"\1_", "\n".join(row[0] for row in rows))

    assert not {index for index in wanted if index not in plan}, plan


def test_there_is_no_sql_outside_the_sql_folders():
    found = [
        f"{source.name}: {line.strip()}"
        for source in ROOT.rglob("*.py")
        for line in source.read_text().splitlines()
        if re.search(r"\b(select|insert into|delete from|update)\b.+\b(from|values|set|where)\b", line)
        and re.search(r"[\"'].*\b(select|insert into|delete from|update)\b", line)
    ]

    assert found == []
