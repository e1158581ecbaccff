"""PgBouncer in transaction mode, with one connection to a database: what is left in a session shows."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from safelight_cli.embedded.part import dies_with_parent
from support.ports import free_port
from support.requires import require
from support.servers import PostgresServer

_CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
{user}
"""


@asynccontextmanager
async def bouncer(postgres: PostgresServer, database: str) -> AsyncIterator[str]:
    """The address of a database, by its name, through PgBouncer."""
    program, port = require("pgbouncer"), free_port()
    with tempfile.TemporaryDirectory(prefix="safelight-bouncer-") as folder:
        config = Path(folder, "pgbouncer.ini")
        # It does not run as root.
        user = "user = nobody" if os.geteuid() == 0 else ""
        config.write_text(_CONFIG.format(server=postgres.port, port=port, user=user))
        os.chmod(folder, 0o755)
        process = _start(program, config)
        try:
            await _until_open(port)
            yield f"postgresql://postgres@127.0.0.1:{port}/{database}"
        finally:
            process.kill()
            process.wait()


def _start(program: str, config: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [program, "-q", config],
        stderr=subprocess.DEVNULL,
        preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509  it calls nothing but the kernel
    )


async def _until_open(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
