"""The quickest way of a file into Postgres: `upload_postgres.py DSN FILE`: chunks of 1 MiB, one transaction.

Called by areas/upload.py as the yardstick of storage in Postgres; no HTTP, no checksum, one commit.
"""

# ruff: noqa: ASYNC230  nobody else waits for this loop

import json
import sys
import time
from pathlib import Path

import asyncpg
import uvloop

PIECE = 1024 * 1024


async def main() -> None:
    """One file."""
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute("create table if not exists piece (number integer, data bytea)")
    await connection.execute("alter table piece alter column data set storage external")
    began = time.perf_counter()
    with Path(sys.argv[2]).open("rb") as file:
        async with connection.transaction():
            insert = await connection.prepare("insert into piece values ($1, $2)")
            number = 0
            while data := file.read(PIECE):
                await insert.fetch(number, data)
                number += 1
    seconds = time.perf_counter() - began
    await connection.execute("truncate piece")
    await connection.close()
    print("result", json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    uvloop.run(main())
