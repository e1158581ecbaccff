"""How many live connections this process has: sockets and streams. Each costs memory, so there is a bound."""

from collections.abc import Iterator
from contextlib import contextmanager

from safelight.config import Settings
from safelight.errors import Failure
from safelight.telemetry import metrics

_open: set[object] = set()


def count() -> int:
    """How many there are now."""
    return len(_open)


@contextmanager
def counted(settings: Settings, *, leaving: bool) -> Iterator[None]:
    """Counts a connection for as long as the block lasts.

    Raises:
        Failure: `unavailable`: there are as many as there may be, or this process goes; others may have room.
    """
    if leaving or len(_open) >= settings.max_sockets:
        raise Failure("unavailable")
    token = object()
    _open.add(token)
    metrics.live_sockets.inc()
    try:
        yield
    finally:
        _open.discard(token)
        metrics.live_sockets.dec()
