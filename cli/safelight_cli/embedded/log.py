"""What a part says, in a file of bounded size; and the lines in it that a person should see.

Written by the supervisor, which reads the parts' output.
"""

import json
from collections import deque
from contextlib import suppress
from pathlib import Path

LIMIT = 5 * 1024 * 1024  # bytes of one file; the one before it is kept as `name.log.1`
_LINE = 64 * 1024  # bytes after which a line is cut, so that one without an end stays bounded
_KEPT = 20  # lines that are remembered, to be shown when the part dies


class Log:
    """One part's log file."""

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._recent: deque[str] = deque(maxlen=_KEPT)
        self._rest = b""

    def write(self, data: bytes) -> list[str]:
        """Adds what was said; answers the complaints among the lines that are now whole."""
        # A full disk must not take down what looks after the parts.
        with suppress(OSError):
            self._append(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE:
            lines, self._rest = [*lines, self._rest], b""
        texts = [line.decode("utf-8", "replace").rstrip() for line in lines]
        self._recent += [text for text in texts if text]
        return [found for found in map(complaint, texts) if found]

    def last_words(self) -> str:
        """The last line that was said."""
        return self._recent[-1][:500] if self._recent else "it said nothing"

    def _append(self, data: bytes) -> None:
        if self.path.exists() and self.path.stat().st_size + len(data) > self._limit:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        with self.path.open("ab") as file:
            file.write(data)


def complaint(line: str) -> str | None:
    """The text for a person, if the line says that something went wrong on our side."""
    if " FATAL:  " in line or " PANIC:  " in line:  # Postgres
        return line.partition("] ")[2] or line
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in ("error", "critical"):
        return None
    detail = entry.get("error") or entry.get("exception") or ""
    return f"{entry.get('event', 'error')} {detail}".strip()[:500]
