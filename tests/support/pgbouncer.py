"""A real PgBouncer in transaction mode, in front of a Postgres of the tests: few sessions that many share."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import free_port
from support.processes import Process
from support.requires import require
from support.servers import PostgresServer

SESSIONS = 3  # of a database, for all its clients
_CONFIG = """
[databases]
* = host={sockets} port={postgres} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = {clients}
query_wait_timeout = {patience}
server_login_retry = 1
"""


class PgBouncer:
    """Made by `pgbouncer`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def dsn(self, database: str) -> str:
        """Address of a database of the Postgres behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def pgbouncer(
    postgres: PostgresServer, *, sessions: int = SESSIONS, clients: int = 200, patience: int = 30
) -> Iterator[PgBouncer]:
    """PgBouncer, listening; without it the test is skipped."""
    binary, port = require("pgbouncer"), free_port()
    with tempfile.TemporaryDirectory(prefix="safelight-pgbouncer-") as folder:
        config = Path(folder, "pgbouncer.ini")
        config.write_text(
            _CONFIG.format(
                sockets=postgres.postgres.sockets,
                postgres=postgres.port,
                port=port,
                sessions=sessions,
                clients=clients,
                patience=patience,
            )
        )
        Path(folder).chmod(0o711)
        # It refuses to be root, and the sockets of Postgres are open to its own user only. Had it changed its
        # user by itself, the kernel would no longer end it with pytest.
        user = "nobody" if os.geteuid() == 0 else None
        process = Process("pgbouncer", [binary, str(config)], dict(os.environ), port, user)
        try:
            _wait(process)
            yield PgBouncer(port)
        finally:
            process.kill()


def _wait(process: Process) -> None:
    give_up = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", process.port)) == 0:
                return
        assert process.is_alive(), process.logs()
        assert time.monotonic() < give_up, process.logs()
        time.sleep(0.02)
