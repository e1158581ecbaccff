"""What Granian calls in each worker process: takes room for the metrics, then makes the application.

Called by name, from `__main__`; the application itself is `app`.
"""

import signal
from typing import TYPE_CHECKING

import structlog
from granian import _signals
from granian._granian import WorkerSignal

from safelight import collector
from safelight_api import tally

if TYPE_CHECKING:
    import asyncio

    from litestar import Litestar

    from safelight_api.leave import Leave


def create() -> "Litestar":
    """The application of this process."""
    # The handlers that were inherited belong to the parent, and would swallow a signal. Nobody is served here
    # yet, so this process may just end, until its loop takes over.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    counted = tally.reserve()
    from safelight_api import app  # noqa: PLC0415 - it imports prometheus_client

    made = app.create()
    _take_signals(made.state.leave)
    collector.settle()
    if not counted:
        structlog.get_logger().warning("metrics.alone", error="no room for this process's share of /metrics")
    return made


def _take_signals(leave: "Leave") -> None:
    """In place of Granian's own handler, which cuts every socket before anybody is asked.

    Not a public place of its: a test stops a process under its watchers, and would tell.
    """

    def set_loop_signals(loop: "asyncio.AbstractEventLoop") -> WorkerSignal:
        stop = WorkerSignal()
        leave.listen(loop, stop)
        return stop

    _signals.set_loop_signals = set_loop_signals
