"""The messages between parent and child, and how they lie on the channel. Both sides import this file.

A frame is four bytes of length (big endian) and that much msgpack. The parent sends `Task`, one at a time;
the child sends `Ready` once, and per task any number of `Progress` and then one `Finished` or `Failed`.
Image bytes never travel here: both sides have the same folder.

The parent takes the child for hostile: each field is bounded here, so that what has been decoded is safe
to store and to show. That includes NUL in texts, which Postgres refuses.
"""

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

HEADER_BYTES: Final = 4
# The largest honest frame is Ready: some dozens of pipelines with a schema of a few KiB each.
MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_RESULT_BYTES: Final = 64 * 1024
MAX_OUTPUTS: Final = 32
MAX_NAME: Final = 100
MAX_STATUS: Final = 200
MAX_MESSAGE: Final = 500
MAX_DETAIL: Final = 4000

NO_NUL = r"\A[^\x00]*\Z"
CODE = r"\A[a-z][a-z0-9_]{0,63}\Z"

Name = Annotated[str, Meta(max_length=MAX_NAME, pattern=NO_NUL)]
Path = Annotated[str, Meta(max_length=4096, pattern=NO_NUL)]
Size = Annotated[int, Meta(ge=0, le=2**53)]


class ProtocolError(Exception):
    """What came is no message of this protocol."""


class InputFile(Struct, frozen=True):
    """An input of the task, already in a folder that the child can read; sides in px, size in bytes."""

    path: str
    name: str
    media_type: str
    width: int
    height: int
    bytes: int


class Limits(Struct, frozen=True):
    """What one task may use: bytes of memory, seconds of CPU, bytes of one file, pixels of one image."""

    memory: Annotated[int, Meta(gt=0)]
    cpu: Annotated[float, Meta(gt=0)]
    file: Annotated[int, Meta(gt=0)]
    pixels: Annotated[int, Meta(gt=0)]


class Task(Struct, frozen=True, tag="task"):
    """Parent to child: run this. `params` is JSON; `workdir` is private to the task."""

    job: str
    pipeline: str
    params: bytes
    inputs: list[InputFile]
    workdir: str
    limits: Limits


class StageDeclaration(Struct, frozen=True):
    """A stage of a pipeline and its share of the work."""

    name: Name
    weight: Annotated[float, Meta(gt=0)]


class Declaration(Struct, frozen=True):
    """What a pipeline says of itself; `schema` is the JSON Schema of its params, deadline in seconds."""

    name: Name
    version: Name
    title: Annotated[str, Meta(max_length=200, pattern=NO_NUL)]
    description: Annotated[str, Meta(max_length=4000, pattern=NO_NUL)]
    stages: Annotated[list[StageDeclaration], Meta(max_length=100)]
    schema: Annotated[bytes, Meta(max_length=256 * 1024)]
    deadline: Annotated[float, Meta(gt=0)]
    max_inputs: Annotated[int, Meta(ge=1)]
    max_pixels: Annotated[int, Meta(ge=1)]
    memory: Annotated[int, Meta(ge=1)]
    max_attempts: Annotated[int, Meta(ge=1)]


class Ready(Struct, frozen=True, tag="ready"):
    """Child to parent, once: it is warm. `pillow` is `pillow 12.3.0`, `pillow-simd 12.1.1.post0` or such."""

    pipelines: Annotated[list[Declaration], Meta(max_length=200)]
    pillow: Name


class Progress(Struct, frozen=True, tag="progress"):
    """Child to parent: how far the task is, 0 to 100."""

    progress: Annotated[float, Meta(ge=0, le=100)]
    stage: Name
    status: Annotated[str, Meta(max_length=MAX_STATUS, pattern=NO_NUL)]


class OutputFile(Struct, frozen=True):
    """A file that the task has written below its workdir; sides in px, 0 where it is no image."""

    name: Name
    path: Path
    media_type: Name
    width: Size = 0
    height: Size = 0


class Finished(Struct, frozen=True, tag="finished"):
    """Child to parent: the task succeeded. `worn` asks not to be used again."""

    outputs: Annotated[list[OutputFile], Meta(max_length=MAX_OUTPUTS)]
    result: Annotated[bytes, Meta(max_length=MAX_RESULT_BYTES)] | None = None
    worn: bool = False


class Failed(Struct, frozen=True, tag="failed"):
    """Child to parent: the task failed in an orderly way.

    `message` is for the customer; `detail` (a traceback) is for the log and never leaves the processor.
    """

    code: Annotated[str, Meta(pattern=CODE)]
    message: Annotated[str, Meta(max_length=MAX_MESSAGE, pattern=NO_NUL)]
    retryable: bool
    detail: Annotated[str, Meta(max_length=MAX_DETAIL)] = ""
    worn: bool = False


FromChild = Ready | Progress | Finished | Failed
Message = Task | FromChild

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
_to_child = msgspec.msgpack.Decoder(Task)


def encode(message: Message) -> bytes:
    """The message as a frame.

    Raises:
        ProtocolError: it is longer than a frame may be.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {len(body)} bytes is over the {MAX_FRAME_BYTES} of a frame")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def body_length(header: bytes) -> int:
    """How many bytes follow the header of a frame.

    Raises:
        ProtocolError: more than a frame may have.
    """
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame announces {length} bytes, over the limit of {MAX_FRAME_BYTES}")
    return length


def decode_from_child(body: bytes) -> FromChild:
    """A message that the parent has received.

    Raises:
        ProtocolError: the bytes are no such message, or a field is out of its bounds.
    """
    return _decode(_from_child, body)


def decode_to_child(body: bytes) -> Task:
    """A message that the child has received.

    Raises:
        ProtocolError: the bytes are no such message.
    """
    return _decode(_to_child, body)


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from None


def clean(text: str, limit: int) -> str:
    """Text of any origin as it may stand in a message: valid UTF-8, no NUL, at most `limit` characters."""
    return text[:limit].replace("\0", " ").encode(errors="replace").decode()
