"""Free ports of 127.0.0.1, so that tests that run at once do not meet."""

import os
import random
import socket

# Below the kernel's ephemeral range, from which it takes ports for outgoing connections; each
# worker of pytest-xdist has a share of its own.
_FIRST, _SHARE, _WORKERS = 11_000, 2_000, 10


def free_port() -> int:
    """A port nobody listens on. It stays free unless a stranger takes it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0) % _WORKERS
    share = range(_FIRST + worker * _SHARE, _FIRST + (worker + 1) * _SHARE)
    for port in random.sample(share, len(share)):
        with socket.socket() as probe:
            # A server sets this too: without it a port whose connections linger would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port is left")
