"""What a store does, the rules for keys, and which store an address names.

Two stores stand behind `Store`; tests/conformance/test_stores.py holds both to what is written here.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import asyncpg
import msgspec

from safelight.errors import Failure

# No part begins with a dot, so there is no `..`, and a name of our own can never be a key.
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_KEY = re.compile(rf"{_PART}(/{_PART})*")
_LONGEST_KEY = 512


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a put has made durable: its SHA-256 digest and its size."""

    sha256: bytes
    bytes: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is stored: whose, under which key, its size, and for how many seconds."""

    tenant: int
    key: str
    bytes: int
    age: float


class Store(Protocol):
    """Bytes of tenants, by key.

    Keys are relative paths like `0193…/in/8f3a/0`. A key is never also the folder of another.
    Everything raises `Failure("storage_unavailable")` while the store is away or full, and
    ValueError for a key that is none.
    """

    async def put(self, tenant: int, key: str, chunks: AsyncIterable[bytes]) -> Stored:
        """Writes; durable when it returns. Replaces what was there.

        On an error (of `chunks` too) or a cancellation nothing becomes visible; what the process
        could not remove itself is left to `prune`.
        """
        ...

    def read(self, tenant: int, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Streams the bytes from `start` to before `end`, as far as there are any.

        Raises:
            Failure: `bytes_missing`, before the first chunk when the key is unknown.
        """
        ...

    async def size(self, tenant: int, key: str) -> int | None:
        """Size in bytes, or None when the key is unknown."""
        ...

    async def delete(self, tenant: int, prefix: str) -> int:
        """Removes the key `prefix` and every key under it; answers how many there were."""
        ...

    async def list(self, after: tuple[int, str], limit: int) -> Sequence[Found]:
        """A page of what is stored, of all tenants, by tenant and then by key, bytewise.

        `after` is tenant and key of the last one of the page before, `(0, "")` for the first page. Reads no
        more than that page; what comes and goes meanwhile may be in it or not.
        """
        ...

    async def prune(self, older_than_seconds: float) -> int:
        """Removes what unfinished puts of this age and interrupted deletes left behind; answers how many."""
        ...

    async def close(self) -> None:
        """Waits for what is still being cleaned up."""
        ...


def open_store(url: str, pool: asyncpg.Pool) -> Store:
    """The store at an address: `postgres:` or `file:///absolute/folder`.

    Raises:
        Failure: `setting_invalid`.
    """
    # Each store imports this module.
    from safelight.storage.files import FileStore  # noqa: PLC0415
    from safelight.storage.postgres import PostgresStore  # noqa: PLC0415

    folder = folder_of(url)
    return FileStore(folder) if folder else PostgresStore(pool)


def folder_of(url: str) -> Path | None:
    """The folder that an address names, or None for Postgres.

    Raises:
        Failure: `setting_invalid`.
    """
    if url == "postgres:":
        return None
    with suppress(ValueError):  # it is not even split
        parts = urlsplit(url)
        if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
            return Path(unquote(parts.path))
    raise Failure(
        "setting_invalid", "SAFELIGHT_STORAGE_URL: expected `postgres:` or `file:///absolute/folder`"
    )


def check_key(key: str) -> str:
    """The key itself, when it is one.

    Raises:
        ValueError: it could lead out of the tenant's folder, or has characters that keys have not.
    """
    if len(key) > _LONGEST_KEY or not _KEY.fullmatch(key):
        raise ValueError(f"{key[:100]!r} is no key of a store")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix without the slash that it may end with.

    Raises:
        ValueError: as for a key; an empty prefix, too, would delete a whole tenant.
    """
    return check_key(prefix.removesuffix("/"))


async def pieces(chunks: AsyncIterable[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of exactly `size`; the last one may be shorter. Holds one piece."""
    held = bytearray()
    async for chunk in chunks:
        view = memoryview(chunk)
        while view:
            taken = view[: size - len(held)]
            held += taken
            view = view[len(taken) :]
            if len(held) == size:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


def span(size: int, start: int, end: int | None) -> tuple[int, int]:
    """The half-open range `start:end` as far as it lies within `size` bytes.

    Raises:
        ValueError: a bound is negative.
    """
    if start < 0 or (end is not None and end < 0):
        raise ValueError("a range counts from the start of the file")
    last = size if end is None else min(end, size)
    return min(start, last), last
