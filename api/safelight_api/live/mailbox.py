"""What one watcher of one job has not been told yet.

Filled by the hub, emptied by a session or a long-poll. Progress is coalesced to the newest; durable
events are few, and when they are too many for a reader the mailbox says `stale`, and the reader asks
Postgres instead. So it is bounded, whatever happens at either end.
"""

import asyncio
from contextlib import suppress

from safelight.progress.tail import Message
from safelight.wire.cursor import Cursor

_MOST_EVENTS = 32


class Mailbox:
    """One watcher's post. `stale` means: something was lost, ask for the truth."""

    def __init__(self) -> None:
        self.top = Cursor(0, 0)  # the newest that is known to exist
        self.stale = False
        self._events: list[Message] = []
        self._progress: Message | None = None
        self._post = asyncio.Event()
        self._event = asyncio.Event()

    def offer(self, message: Message) -> None:
        """News of the job. Never blocks."""
        self.top = max(self.top, message.cursor)
        if message.kind == "progress":
            self._progress = message
        elif len(self._events) < _MOST_EVENTS:
            self._events.append(message)
            self._event.set()
        else:
            self.lost()
        self._post.set()

    def lost(self) -> None:
        """Something may not have come through."""
        self.stale = True
        self._events.clear()
        self._progress = None
        self._post.set()
        self._event.set()

    def told(self, cursor: Cursor) -> None:
        """The watcher has come this far by itself."""
        self.top = max(self.top, cursor)

    def notice(self, top: Cursor) -> None:
        """What the truth says the newest is: if it never came, it was lost."""
        if top > self.top:
            self.top = top
            self.lost()

    async def wait(self) -> None:
        """Until there is post."""
        await self._post.wait()

    async def wait_for_event(self, seconds: float) -> None:
        """Until there is more than progress, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()

    def take(self) -> tuple[bool, list[Message]]:
        """Whether something was lost, and what is here, in order."""
        stale, self.stale = self.stale, False
        messages = sorted(
            [*self._events, *([self._progress] if self._progress else [])], key=lambda m: m.cursor
        )
        self._events, self._progress = [], None
        self._post.clear()
        self._event.clear()
        return stale, messages
