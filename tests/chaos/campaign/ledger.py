"""Who saw what of which job: records that are appended to files as it happens, and outlive whoever wrote
them.

`producer` notes what was acknowledged, `worker` what it ran and what it was told to have ended. `audit`
compares that with what Postgres says in the end. A record is one write, so a process that is killed leaves
no half of one behind but at the end of its own file.
"""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

# acknowledged: the enqueue was answered       abandoned: it was not, and nobody asked again
# began: a worker ran the job                  accepted: a worker was told that its end of the job counts
What = Literal["acknowledged", "abandoned", "began", "accepted"]
_LETTERS: dict[What, bytes] = {"acknowledged": b"a", "abandoned": b"x", "began": b"b", "accepted": b"e"}
_WHATS = {letter: what for what, letter in _LETTERS.items()}
_RECORD = struct.Struct("<c16sid")


class Ledger:
    """A file of one process's own, in a folder for all of them."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / f"{uuid4()}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: What, job: UUID, lease_epoch: int = 0) -> None:
        """It happened now; under which lease, for what was accepted."""
        os.write(self._file, _RECORD.pack(_LETTERS[what], job.bytes, lease_epoch, time.time()))

    def close(self) -> None:
        """Nothing more will be noted."""
        os.close(self._file)


def read(folder: Path) -> Iterator[tuple[What, UUID, int, float]]:
    """Everything that was noted by anybody, with lease epochs; times are seconds since 1970."""
    for path in sorted(folder.glob("*.ledger")):
        whole = path.read_bytes()
        for letter, job, lease_epoch, at in _RECORD.iter_unpack(
            whole[: len(whole) // _RECORD.size * _RECORD.size]
        ):
            yield _WHATS[letter], UUID(bytes=job), lease_epoch, at
