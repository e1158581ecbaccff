"""Who watches which job in this process. One hub a process; news comes to it from the tail.

Redis may forget, be flushed, or be away; so the hub compares what its watchers have with the truth:
every few seconds in any case, every second while Redis is away, and at once after it came back. One
query for all watched jobs. A watcher that is behind is told so, and reads for itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from safelight.jobs.queue import JobQueue
from safelight.progress.tail import Message
from safelight.telemetry import metrics
from safelight.wire.key import JobKey
from safelight_api.live.mailbox import Mailbox

_CHUNK = 1000  # jobs of one query


class Hub:
    """Fans news out to the mailboxes of this process."""

    def __init__(self, queue: JobQueue, connected: Callable[[], bool], relaxed: float) -> None:
        self._queue = queue
        self._connected = connected
        self._relaxed = relaxed
        self._watches: dict[JobKey, set[Mailbox]] = {}

    @contextmanager
    def watch(self, key: JobKey) -> Iterator[Mailbox]:
        """A mailbox that gets the news of a job for as long as the block lasts.

        Begin to watch first and read the job then: what happens in between is in the mailbox.
        """
        mailbox = Mailbox()
        self._watches.setdefault(key, set()).add(mailbox)
        metrics.live_watches.inc()
        try:
            yield mailbox
        finally:
            metrics.live_watches.dec()
            others = self._watches[key]
            others.discard(mailbox)
            if not others:
                del self._watches[key]

    def receive(self, _channel: str, data: bytes) -> None:
        """News from Redis."""
        message = Message(data)
        for mailbox in self._watches.get(message.key, ()):
            mailbox.offer(message)

    async def reconcile(self) -> None:
        """Tells every watcher that is behind the truth that it is."""
        keys = list(self._watches)
        for start in range(0, len(keys), _CHUNK):
            tops = await self._queue.tops(keys[start : start + _CHUNK])
            for key, top in tops.items():
                for mailbox in self._watches.get(key, ()):
                    mailbox.notice(top)

    async def resync(self) -> None:
        """Redis has just come (back): whatever was said meanwhile is lost."""
        for mailboxes in self._watches.values():
            for mailbox in mailboxes:
                mailbox.lost()

    @property
    def interval(self) -> float:
        """Seconds until the next `reconcile`: with Redis away it is what carries the news."""
        return self._relaxed if self._connected() else 1.0
