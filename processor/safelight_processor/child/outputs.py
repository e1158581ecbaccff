"""What came back from a child is looked at again, by the parent, before anybody else sees it.

`parent.py` calls `check` on each `Finished`. The child may have been taken over by the image, so its word
counts for nothing: a path may point to any file of the node, a JPEG may be none, and a result may hold
what Postgres cannot store, which would fail the jobs that are recorded in the same statement.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from safelight.errors import Failure
from safelight.pipelines.output import MEDIA_TYPES, NAME
from safelight_processor.child.protocol import Finished, OutputFile, Task

MAX_SIDE: Final = 65_535
HEAD_BYTES: Final = 16

# What an image of that type starts with.
MAGIC: Final[dict[str, Callable[[bytes], bool]]] = {
    "image/jpeg": lambda head: head.startswith(b"\xff\xd8\xff"),
    "image/png": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/gif": lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    "image/webp": lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    "image/tiff": lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    "image/bmp": lambda head: head.startswith(b"BM"),
}
# HTML, SVG and scripts are not among them: an output may be opened in somebody's browser.
ALLOWED: Final = frozenset(MEDIA_TYPES.values()) | {"application/octet-stream"}
# A NUL in a JSON text. With an even number of backslashes before it, it is the text `\u0000`, and harmless.
NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def check(finished: Finished, task: Task) -> Finished:
    """The same ending, now to be trusted: files inside the workdir, result written anew.

    Raises:
        Failure: `output_invalid`, saying what is wrong.
    """
    names = [output.name for output in finished.outputs]
    if len(set(names)) < len(names):
        raise Failure("output_invalid", "Two outputs have the same name.")
    for output in finished.outputs:
        _check_file(output, task)
    return msgspec.structs.replace(finished, result=_checked_result(finished.result))


def open_output(output: OutputFile) -> BinaryIO:
    """Open an output for reading, and nothing else that has meanwhile taken its place.

    Raises:
        Failure: `output_invalid`: it is a link, a pipe or gone.
    """
    try:
        # Without O_NONBLOCK, a named pipe would hold us until somebody writes.
        number = os.open(output.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise Failure("output_invalid", f"The output {output.name} cannot be read.") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Failure("output_invalid", f"The output {output.name} is no file.")
    return os.fdopen(number, "rb")


def _check_file(output: OutputFile, task: Task) -> None:
    if not NAME.fullmatch(output.name):
        raise Failure("output_invalid", "An output has a name that is not allowed.")
    if output.media_type not in ALLOWED:
        raise Failure("output_invalid", f"The output {output.name} is of a type that is not allowed.")
    _check_place(output, Path(task.workdir))
    with open_output(output) as file:
        if os.fstat(file.fileno()).st_size > task.limits.file:
            raise Failure("output_invalid", f"The output {output.name} is larger than allowed.")
        head = file.read(HEAD_BYTES)
    if looks_right := MAGIC.get(output.media_type):
        sides_right = 1 <= output.width <= MAX_SIDE and 1 <= output.height <= MAX_SIDE
        if not (looks_right(head) and sides_right):
            raise Failure("output_invalid", f"The output {output.name} is no {output.media_type}.")


def _check_place(output: OutputFile, workdir: Path) -> None:
    # The folder is resolved and the last part is not: a link there is refused when it is opened.
    path = Path(output.path)
    folder = Path(os.path.realpath(path.parent))
    if path.name in {"", ".."} or not folder.is_relative_to(os.path.realpath(workdir)):
        raise Failure("output_invalid", f"The output {output.name} lies outside of the run's folder.")


def _checked_result(raw: bytes | None) -> bytes | None:
    """The result written anew: an object, of what JSON and Postgres' jsonb both can hold."""
    if raw is None:
        return None
    try:
        result: Any = msgspec.json.decode(raw)
        written = msgspec.json.encode(result)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        raise Failure("output_invalid", "The result is no JSON.") from None
    if not isinstance(result, dict):
        raise Failure("output_invalid", "The result is no JSON object.")
    if NUL.search(written):
        raise Failure("output_invalid", "The result has a NUL character in a text.")
    return written
