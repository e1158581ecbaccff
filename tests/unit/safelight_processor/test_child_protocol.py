"""The messages between parent and child, as the parent must read them: with suspicion."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight_processor.child import protocol
from safelight_processor.child.protocol import (
    MAX_FRAME_BYTES,
    MAX_OUTPUTS,
    MAX_RESULT_BYTES,
    Declaration,
    Failed,
    Finished,
    InputFile,
    Limits,
    OutputFile,
    Progress,
    ProtocolError,
    Ready,
    StageDeclaration,
    Task,
    body_length,
    clean,
    decode_from_child,
    decode_to_child,
    encode,
)

OUTPUT = OutputFile("a.jpg", "/run/a.jpg", "image/jpeg", 4, 3)
MESSAGES: list[protocol.FromChild] = [
    Ready(
        [Declaration("echo", "1", "Echo", "", [StageDeclaration("work", 1.0)], b"{}", 60.0, 1, 10, 10, 3)],
        "pillow 12.3.0",
    ),
    Progress(33.3, "decode", "halfway"),
    Finished([OUTPUT], b'{"a":1}'),
    Finished([], None, worn=True),
    Failed("image_damaged", "The image is damaged.", False, "Traceback ..."),
]
BROKEN: dict[str, protocol.FromChild] = {
    "a number below zero": Progress(-1, "", ""),
    "a number over a hundred": Progress(100.5, "", ""),
    "no number": Progress(float("nan"), "", ""),
    "a NUL": Progress(1, "", "a\0b"),
    "a NUL at the end": Failed("a", "b\0", False),
    "a line break after the code": Failed("a\n", "b", False),
    "a code that is a sentence": Failed("It failed.", "b", False),
    "a long message": Failed("a", "b" * 501, False),
    "a long result": Finished([], b"x" * (MAX_RESULT_BYTES + 1)),
    "too many outputs": Finished([OUTPUT] * (MAX_OUTPUTS + 1)),
    "a negative side": Finished([OutputFile("a", "b", "c", -1, 1)]),
}


def body(message: protocol.Message) -> bytes:
    frame = encode(message)
    assert body_length(frame[:4]) == len(frame) - 4
    return frame[4:]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_the_child_says_is_what_the_parent_reads(message: protocol.FromChild) -> None:
    assert decode_from_child(body(message)) == message


def test_a_task_arrives_as_it_was_sent() -> None:
    image = InputFile("/run/in/0", "attic.jpg", "image/jpeg", 800, 600, 81234)
    task = Task("0193", "restore", b'{"strength":0.5}', [image], "/run", Limits(1, 2.5, 3, 4))
    assert decode_to_child(body(task)) == task


@pytest.mark.parametrize("name", BROKEN)
def test_a_field_out_of_its_bounds_is_a_protocol_error(name: str) -> None:
    with pytest.raises(ProtocolError):
        decode_from_child(body(BROKEN[name]))


def test_a_child_cannot_send_a_task() -> None:
    task = Task("j", "p", b"", [], "/run", Limits(1, 1, 1, 1))
    with pytest.raises(ProtocolError):
        decode_from_child(body(task))


def test_a_frame_over_the_limit_is_refused_by_its_header() -> None:
    assert body_length(MAX_FRAME_BYTES.to_bytes(4, "big")) == MAX_FRAME_BYTES
    with pytest.raises(ProtocolError):
        body_length((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_a_message_that_fits_in_no_frame_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        encode(Task("j", "p", bytes(MAX_FRAME_BYTES), [], "/run", Limits(1, 1, 1, 1)))


@given(st.binary(max_size=300))
def test_garbage_is_a_protocol_error_and_nothing_else(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_from_child(garbage)


@given(st.sampled_from(MESSAGES), st.data())
def test_a_damaged_message_is_read_within_bounds_or_refused(
    message: protocol.FromChild, data: st.DataObject
) -> None:
    damaged = bytearray(body(message))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_from_child(bytes(damaged))
    except ProtocolError:
        return
    # Whatever was read passes the check of its own type once more.
    msgspec.convert(msgspec.to_builtins(read), protocol.FromChild)


def test_deep_nesting_does_not_bring_the_reader_down() -> None:
    with pytest.raises(ProtocolError):
        decode_from_child(b"\x91" * 100_000)


@given(st.text(st.characters(), max_size=400))
def test_any_text_can_be_cleaned_for_a_message(text: str) -> None:
    progress = Progress(1.0, "", clean(text, 200))
    assert decode_from_child(body(progress)) == progress


def test_a_lone_surrogate_is_cleaned() -> None:
    assert clean("a\ud800b\0c", 4) == "a?b "
