"""What Granian calls in each worker process: takes room for the metrics, then makes the application.

Called by name, from `__main__`; the application itself is `app`.
"""

from typing import TYPE_CHECKING

import structlog

from safelight import collector
from safelight_api import tally

if TYPE_CHECKING:
    from litestar import Litestar


def create() -> "Litestar":
    """The application of this process."""
    counted = tally.reserve()
    from safelight_api import app  # noqa: PLC0415 - it imports prometheus_client

    made = app.create()
    collector.settle()
    if not counted:
        structlog.get_logger().warning("metrics.alone", error="no room for this process's share of /metrics")
    return made
