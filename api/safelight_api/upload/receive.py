"""A request's body -> its files, stored and judged, and its fields. The one entry is `receive_body`.

While bytes go into the store they are counted, sniffed and held against the caps, so what is refused
is refused early, and nothing of it remains. Called by routes/submit, which enqueues the job next.
"""

import asyncio
import re
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import structlog

from safelight.errors import Failure
from safelight.storage.store import Store
from safelight.telemetry import metrics
from safelight_api.upload.multipart import FILE, is_multipart, parts
from safelight_api.upload.sniff import Header, Sniffer

# Slower than a phone at the edge of its net; else a byte before each time-out would hold an upload for ever.
_SLOWEST = 4 * 1024  # bytes per second, on average
# Seconds for all of a body. Bytes that are still no job's after a day are taken for left behind.
_LONGEST = 12 * 3600.0
_LINGER_SECONDS = 10.0
_LINGER_BYTES = 256 * 1024 * 1024
_LONGEST_NAME = 120  # characters
_LONGEST_NAME_BYTES = 200  # file systems take 255
_ENDINGS = {"image/jpeg": "jpg", "image/tiff": "tif"}
_log = structlog.get_logger()
_leaving: set["asyncio.Task[int]"] = set()


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken: bytes, pixels and the longer side (px) of one image; files; seconds of silence."""

    bytes: int
    pixels: int
    side: int
    files: int
    idle_seconds: float


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is durable in the store under `key`; type and sides are what its header says."""

    name: str
    media_type: str
    width: int
    height: int
    sha256: bytes
    bytes: int
    key: str


class Submission(msgspec.Struct, frozen=True):
    """What a body held. Names of files are different from each other."""

    fields: dict[str, str]
    files: list[Received]


async def receive_body(  # noqa: PLR0913  # plain values, so that no framework is needed to call it
    body: AsyncIterator[bytes],
    *,
    content_type: str,
    content_length: int | None,
    fields: Mapping[str, str],
    store: Store,
    tenant: int,
    prefix: str,
    caps: Caps,
) -> Submission:
    """Stores the images of a body, raw or multipart.

    Args:
        body: the bytes as they come.
        content_type: of the request; decides between raw and multipart. An image's type is by its content.
        content_length: of the request, when it says so.
        fields: what came beside the body (the query); fields of a multipart body go before them, and
            `name` is the file name of a raw one.
        store: takes the images.
        tenant: whose they are.
        prefix: of their keys; must belong to this request alone, as all of it is removed on failure.
        caps: what is too much.

    Raises:
        Failure: `body_too_large`, `body_incomplete`, `body_empty`, `multipart_invalid`, `too_many_files`,
            `image_unsupported`, `image_unreadable`, `image_too_many_pixels`, `image_side_too_long`,
            `storage_unavailable`. Nothing remains stored then, nor on a cancellation.
    """
    intake = _Intake(store, tenant, prefix, caps)
    try:
        async with aclosing(_paced(body, content_length, caps.idle_seconds)) as paced:
            if is_multipart(content_type):
                return await _receive_parts(intake, paced, content_type, fields)
            if content_length is not None and content_length > caps.bytes:
                raise _too_large(caps)
            await intake.take(paced, fields.get("name"))
            return Submission({name: fields[name] for name in fields if name != "name"}, intake.files)
    except BaseException as error:
        await _to_the_end(intake.forget())
        if isinstance(error, Failure) and error.code != "body_incomplete":
            await linger(body)
        raise


async def linger(body: AsyncIterator[bytes]) -> None:
    """Reads and drops what still comes of a refused body, for a while.

    Most clients send everything before they read the answer. A connection that is closed under them is
    reset, and the reason for the refusal is lost with it.
    """
    dropped = 0
    # It may be that the body itself has failed; there is nothing more to come then.
    with suppress(Exception):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in body:
                dropped += len(chunk)
                if dropped > _LINGER_BYTES:
                    return


async def _receive_parts(
    intake: "_Intake", body: AsyncIterator[bytes], content_type: str, fields: Mapping[str, str]
) -> Submission:
    found = dict(fields)
    async with aclosing(parts(body, content_type, intake.caps.files)) as stream:
        async for part in stream:
            if part.name == FILE:
                await intake.take(part, part.filename)
            else:
                found[part.name] = await part.text()
    return Submission(found, intake.files)


class _Intake:
    """The images of one request."""

    def __init__(self, store: Store, tenant: int, prefix: str, caps: Caps) -> None:
        self.caps = caps
        self.files: list[Received] = []
        self._store = store
        self._tenant = tenant
        self._prefix = prefix

    async def take(self, body: AsyncIterable[bytes], name: str | None) -> None:
        """One image, into the store."""
        key = f"{self._prefix}/{len(self.files)}"
        sniffer = Sniffer()
        async with aclosing(_judged(body, sniffer, self.caps)) as judged:
            stored = await self._store.put(self._tenant, key, judged)
        header = sniffer.end()
        taken = {file.name for file in self.files}
        self.files.append(
            Received(
                name=_unlike(taken, display_name(name, header.media_type)),
                media_type=header.media_type,
                width=header.width,
                height=header.height,
                sha256=stored.sha256,
                bytes=stored.bytes,
                key=key,
            )
        )

    async def forget(self) -> int:
        """Removes what was stored; what cannot be removed now is left to the pruner."""
        if not self.files:
            return 0  # a put that failed has cleaned up after itself
        try:
            return await self._store.delete(self._tenant, self._prefix)
        except Failure as failure:
            _log.warning("upload.left_behind", prefix=self._prefix, code=failure.code)
            return 0


async def _paced(
    body: AsyncIterator[bytes], content_length: int | None, idle_seconds: float
) -> AsyncGenerator[bytes, None]:
    """The body as it comes, for as long as it does come, and all of it."""
    clock = asyncio.get_running_loop().time
    received, waited, opened = 0, 0.0, clock()
    while True:
        began = clock()
        try:
            async with asyncio.timeout(idle_seconds):
                chunk = await anext(body)
        except StopAsyncIteration:
            break
        except Exception as error:
            # Time is up, or the connection broke, for which each server has an exception of its own.
            raise Failure("body_incomplete") from error
        # Only the network's time counts, not that of our own store.
        waited += clock() - began
        received += len(chunk)
        metrics.upload_bytes_total.inc(len(chunk))
        if waited > idle_seconds + received / _SLOWEST or clock() - opened > _LONGEST:
            raise Failure("body_incomplete", "The upload was too slow.")
        if chunk:
            yield chunk
    if content_length is not None and received != content_length:
        raise Failure("body_incomplete")


async def _judged(body: AsyncIterable[bytes], sniffer: Sniffer, caps: Caps) -> AsyncGenerator[bytes, None]:
    """The bytes of one image, which end in a Failure as soon as there is a reason.

    It is raised into the put that reads them, and so undoes it.
    """
    total = 0
    async for chunk in body:
        total += len(chunk)
        if total > caps.bytes:
            raise _too_large(caps)
        if sniffer.header is None and (header := sniffer.feed(chunk)):
            _check_sides(header, caps)
        yield chunk
    if total == 0:
        raise Failure("body_empty")
    sniffer.end()


def _check_sides(header: Header, caps: Caps) -> None:
    if max(header.width, header.height) > caps.side:
        raise Failure("image_side_too_long", limit=caps.side)
    if header.width * header.height > caps.pixels:
        raise Failure("image_too_many_pixels", limit=caps.pixels)


def _too_large(caps: Caps) -> Failure:
    return Failure("body_too_large", f"An image may have {caps.bytes} bytes at most.", limit=caps.bytes)


async def _to_the_end(work: Coroutine[Any, Any, int]) -> None:
    """Waits for `work`, which goes on when the waiting itself is canceled."""
    task = asyncio.create_task(work)
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)
    await asyncio.shield(task)


# Names


def display_name(claimed: str | None, media_type: str) -> str:
    """A file name that is safe to show and to store, as near as possible to the one that was sent.

    No folders, no control or direction characters, at most 120 long; `image.jpg` when nothing is left.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", claimed or ""))[-1]
    name = "".join(
        mark for mark in name if unicodedata.category(mark)[0] != "C" and mark not in "\u2028\u2029"
    )
    name = " ".join(name.split()).strip(" .")
    ending = _ENDINGS.get(media_type, media_type.rpartition("/")[2])
    return _shortened(name) if name else f"image.{ending}"


def _shortened(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 10:
        stem, dot, ending = name, "", ""
    rest = len(dot + ending), len((dot + ending).encode())
    stem = stem[: _LONGEST_NAME - rest[0]]
    while len(stem.encode()) > _LONGEST_NAME_BYTES - rest[1]:
        stem = stem[:-1]
    return stem.rstrip(" .") + dot + ending


def _unlike(taken: set[str], name: str) -> str:
    """The name itself, or `photo-2.jpg` when there is a `photo.jpg`: inputs are asked for by name."""
    stem, dot, ending = name.rpartition(".")
    stem, dot, ending = (stem, dot, ending) if stem else (name, "", "")
    number, candidate = 2, name
    while candidate in taken:
        tail = f"-{number}{dot}{ending}"
        candidate = stem[: _LONGEST_NAME - len(tail)] + tail
        number += 1
    return candidate
