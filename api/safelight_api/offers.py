"""Which pipelines there are, and whether a request fits one.

Processors register what they offer in Postgres; the API knows a pipeline only by that declaration,
so it needs no image library, and a new pipeline needs no new API.
"""

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import jsonschema
import msgspec

from safelight.errors import Failure
from safelight.jobs.lanes import NORMAL, PRIORITIES
from safelight.jobs.queue import JobQueue
from safelight.wire.resources import PipelineInfo
from safelight_api.upload.receive import Received

_FRESH = 2.0  # seconds for which the list is believed
_MOST_ERRORS = 10
_LONGEST_PARAMS = 64 * 1024
_EXACT = 1e16  # from here on a double is written with an exponent, and Postgres makes an integer of that


class Offers:
    """The pipelines, as of a moment ago."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._known: dict[str, PipelineInfo] = {}
        self._until = 0.0

    async def all(self) -> Sequence[PipelineInfo]:
        """Every pipeline, by name."""
        if time.monotonic() >= self._until:
            self._known = {info.name: info for info in await self._queue.pipelines()}
            self._until = time.monotonic() + _FRESH
        return list(self._known.values())

    async def find(self, name: str | None) -> PipelineInfo:
        """A pipeline by its name.

        Raises:
            Failure: `pipeline_unknown`, saying which there are.
        """
        await self.all()
        if name in self._known:
            return self._known[name]
        names = ", ".join(sorted(self._known)) or "none yet: no processor has started"
        raise Failure("pipeline_unknown", f"Name one of the pipelines: {names}.")


def check_params(info: PipelineInfo, text: str | None) -> str:
    """The params of a request as canonical JSON text: sorted, without spaces.

    Raises:
        Failure: `json_invalid`, or `params_invalid` with every place that does not fit.
    """
    if len(text or "") > _LONGEST_PARAMS:
        raise Failure("params_invalid", f"Params have {_LONGEST_PARAMS} characters at most.")
    try:
        params = _plain(msgspec.json.decode(text or "{}"))
    except OverflowError:
        raise Failure("params_invalid", "Params must not contain a number beyond 1.8e308.") from None
    except _NulError:
        raise Failure("params_invalid", "Params must not contain the character NUL.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Failure("json_invalid", f"The params are not JSON: {error}") from None
    wrong = [
        ("/".join(map(str, error.absolute_path)), error.message)
        for error in _validator(msgspec.json.encode(info.params)).iter_errors(params)
    ]
    if wrong:
        raise Failure("params_invalid", f"The params do not fit {info.name}.", errors=wrong[:_MOST_ERRORS])
    return msgspec.json.encode(params, order="deterministic").decode()


class _NulError(Exception):
    """A text holds the one character that Postgres cannot store."""


def _plain(value: Any) -> Any:
    """The same value with its integers written as such: 800.0 is one for JSON Schema, and 800 for a pipeline.

    Raises:
        OverflowError: an integer is too large for a pipeline that asks for any number.
        _NulError: a string or a key has a NUL.
    """
    match value:
        case dict():
            return {_plain(key): _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case float():
            return int(value) if value.is_integer() and abs(value) < _EXACT else value
        case int():
            float(value)
        case str() if "\0" in value:
            raise _NulError
    return value


def check_priority(text: str | None) -> int:
    """The priority of a request.

    Raises:
        Failure: `bad_request` when it is none.
    """
    if text is None:
        return NORMAL
    if not text.isascii() or not text.isdigit() or int(text[:3]) not in PRIORITIES:
        raise Failure("bad_request", f"A priority is {PRIORITIES[0]} to {PRIORITIES[-1]}.")
    return int(text)


def check_images(info: PipelineInfo, images: Sequence[Received]) -> None:
    """Whether the pipeline takes these images.

    Raises:
        Failure: `file_missing`, `too_many_files` or `image_too_many_pixels`.
    """
    if not images:
        raise Failure("file_missing")
    if len(images) > info.max_inputs:
        raise Failure("too_many_files", f"{info.name} takes {info.max_inputs} image(s), not {len(images)}.")
    for image in images:
        if image.width * image.height > info.max_pixels:
            most = f"{info.max_pixels / 1e6:.0f} megapixels"
            raise Failure(
                "image_too_many_pixels", f"{image.name} has more than the {most} {info.name} takes."
            )


def fingerprint(pipeline: str, params: str, images: Sequence[Received]) -> bytes:
    """What tells a repeat of a request from another one: pipeline, params and bytes; not the file names."""
    digest = hashlib.sha256(f"{pipeline}\n{params}\n".encode())
    for image in images:
        digest.update(image.sha256)
    return digest.digest()


def in_batch(digest: bytes, batch: UUID | None) -> bytes:
    """The fingerprint of a job of a batch. In another it is another: that one waits for it."""
    return digest if batch is None else hashlib.sha256(digest + batch.bytes).digest()


def content(info: PipelineInfo, digest: bytes) -> bytes:
    """What two jobs share when the result of one serves the other."""
    return hashlib.sha256(digest + info.version.encode()).digest()


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Any:
    return jsonschema.Draft202012Validator(msgspec.json.decode(schema))
