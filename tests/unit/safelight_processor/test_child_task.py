"""Whatever a pipeline raises becomes a failure that a customer may read."""

import errno
import re

import PIL.Image
import pytest

from safelight.errors import CATALOGUE, Failure
from safelight_processor.child.limits import CpuTimeExceeded
from safelight_processor.child.protocol import CODE, MAX_DETAIL, MAX_MESSAGE, decode_from_child, encode
from safelight_processor.child.task import failed


class OpenCvError(Exception):
    code = -4


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


CASES: dict[str, tuple[BaseException, str]] = {
    "a failure of the author": (Failure("no_face", "There is no face."), "no_face"),
    "a failure of the catalogue": (Failure("image_damaged"), "image_damaged"),
    "any exception": (ZeroDivisionError("/srv/secret"), "pipeline_failed"),
    "an exit": (SystemExit("/srv/secret"), "pipeline_failed"),
    "no memory": (MemoryError(), "memory_exceeded"),
    "no memory, says OpenCV": (OpenCvError(), "memory_exceeded"),
    "no memory, says Pillow": (OSError("out of memory error when reading image file"), "memory_exceeded"),
    "no memory, wrapped": (caused(Failure("image_damaged"), MemoryError()), "memory_exceeded"),
    "no memory, and the author knows better": (
        caused(Failure("too_big", "Too big."), MemoryError()),
        "too_big",
    ),
    "a bomb": (PIL.Image.DecompressionBombError("bomb"), "image_too_many_pixels"),
    "a bomb's warning": (PIL.Image.DecompressionBombWarning("bomb"), "image_too_many_pixels"),
    "a full disk": (OSError(errno.ENOSPC, "full", "/srv/secret"), "storage_unavailable"),
    "a full disk, wrapped": (
        caused(Failure("output_invalid", "It cannot be written."), OSError(errno.ENOSPC, "full")),
        "storage_unavailable",
    ),
    "a file over its limit": (OSError(errno.EFBIG, "big", "/srv/secret"), "output_invalid"),
    "no CPU time left": (CpuTimeExceeded(), "deadline_exceeded"),
    "a code that is none": (Failure("Not a code!", "Text."), "pipeline_failed"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_exception_becomes_a_failure_with_its_code(name: str) -> None:
    error, code = CASES[name]
    failure = failed(error)
    assert failure.code == code
    assert re.search(CODE, failure.code)
    assert "secret" not in failure.message
    assert decode_from_child(encode(failure)[4:]) == failure
    if code in CATALOGUE and not isinstance(error, Failure):
        assert failure.message == CATALOGUE[code].message
        assert failure.retryable == CATALOGUE[code].retryable


def test_the_authors_message_and_word_on_retrying_are_kept() -> None:
    failure = failed(Failure("model_busy", "The model is busy.", retryable=True))
    assert (failure.message, failure.retryable, failure.detail) == ("The model is busy.", True, "")


def test_the_traceback_goes_to_the_log_alone() -> None:
    def buggy() -> None:
        raise RuntimeError("at /srv/secret")

    with pytest.raises(RuntimeError) as caught:
        buggy()
    failure = failed(caught.value)
    assert "/srv/secret" in failure.detail
    assert "buggy" in failure.detail
    assert failure.message == CATALOGUE["pipeline_failed"].message


def test_a_message_of_any_length_and_content_fits() -> None:
    failure = failed(Failure("too_much", "\0\ud800" + "x" * 10_000))
    assert len(failure.message) == MAX_MESSAGE
    assert decode_from_child(encode(failure)[4:]) == failure


def test_an_endless_chain_of_causes_is_cut() -> None:
    error: Exception = ValueError("x" * 10_000)
    for _ in range(50):
        error = caused(ValueError("x"), error)
    assert len(failed(error).detail) <= MAX_DETAIL


def test_a_child_that_ran_out_of_memory_asks_to_be_replaced() -> None:
    assert failed(MemoryError()).worn
    assert not failed(ValueError()).worn
