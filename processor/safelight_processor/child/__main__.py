"""The sandboxed process: `python -I -m safelight_processor.child PARENT_PID [FOLDER ...]`.

`parent.py` starts it with an emptied environment, in a session of its own, and with the channel as its
standard input; standard output and error both lead to the parent's log, so nothing that prints can break
the protocol. The folders are further places for `import`, for pipelines under development (`-I` ignores
PYTHONPATH). It hardens itself, imports everything that a task may need (warm.py), says `Ready`, and runs
one task after another (task.py) until the channel closes.
"""

import os
import socket
import sys
from collections.abc import Sequence
from typing import BinaryIO

from safelight_processor.child import limits
from safelight_processor.child.protocol import (
    HEADER_BYTES,
    FromChild,
    Task,
    body_length,
    decode_to_child,
    encode,
)


def main(arguments: Sequence[str]) -> None:
    """Run tasks until the parent closes the channel."""
    channel = _take_channel()
    limits.before_imports(parent=int(arguments[0]))
    sys.path[:0] = arguments[1:]
    # Not before the line above: from here on, code that is not ours runs.
    from safelight_processor.child import warm  # noqa: PLC0415

    def send(message: FromChild) -> None:
        channel.sendall(encode(message))

    ready, worker = warm.up(send)
    limits.after_imports()
    send(ready)
    with channel.makefile("rb") as frames:
        while task := _next_task(frames):
            worker.run(task)


def _take_channel() -> socket.socket:
    """The channel, moved away from standard input, which reads as empty from here on."""
    channel = socket.socket(fileno=os.dup(0))  # what a task may start does not inherit a dup()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return channel


def _next_task(frames: BinaryIO) -> Task | None:
    """The next task, or None when the channel is closed."""
    header = frames.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    return decode_to_child(frames.read(body_length(header)))


if __name__ == "__main__":
    main(sys.argv[1:])
