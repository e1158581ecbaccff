"""Progress of one task, sent at most 20 times a second; the newest report always arrives.

A report that is due goes out at once. One that comes too early waits, and is replaced by a newer one;
a thread sends it when its time has come, so that it is seen also when the pipeline then disappears into C
for a minute. What waits at the end goes out before the ending.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from safelight.pipelines import Report
from safelight_processor.child.protocol import MAX_NAME, MAX_STATUS, Progress, clean

INTERVAL: Final = 0.05  # seconds


class Reporter:
    """Sends the reports of the task at hand; lives as long as the child."""

    def __init__(self, send: Callable[[Progress], None]) -> None:
        self._send = send
        self._lock = threading.Condition()
        self._task: object = None
        self._waiting: Progress | None = None
        self._due = 0.0
        threading.Thread(target=self._send_late, name="reporter", daemon=True).start()

    def begin(self) -> Callable[[Report], None]:
        """Open for a task; answers the function that takes its reports until `end`."""
        task = self._task = object()

        def report(given: Report) -> None:
            with self._lock:
                # A thread that a task has left behind must not report on the next one.
                if task is self._task:
                    self._take(given)

        return report

    def end(self) -> None:
        """Send what still waits; nothing that is reported later goes out."""
        with self._lock:
            self._task = None
            self._flush()

    def _take(self, report: Report) -> None:
        self._waiting = Progress(
            min(100.0, max(0.0, report.progress)),
            clean(report.stage, MAX_NAME),
            clean(report.status, MAX_STATUS),
        )
        if time.monotonic() >= self._due:
            self._flush()
        else:
            self._lock.notify()

    def _flush(self) -> None:
        if self._waiting is not None:
            self._send(self._waiting)
            self._waiting = None
            self._due = time.monotonic() + INTERVAL

    def _send_late(self) -> None:
        with self._lock:
            while True:
                self._lock.wait_for(lambda: self._waiting is not None)
                self._lock.wait_for(lambda: self._waiting is None, self._due - time.monotonic())
                self._flush()
