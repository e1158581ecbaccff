"""Bytes in a folder: `<root>/<tenant>/<key>`, for one machine.

A put writes to `<root>/.partial/` and is renamed into its place, after which file and folder are on
the disk. Everything that blocks runs in threads, a MiB at a time, so that there are few hops.
"""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar
from uuid import uuid4

from safelight.errors import Failure
from safelight.storage.store import Found, Stored, check_key, check_prefix, pieces, span

_PIECE = 1024 * 1024
_TRIES = 5
_P = ParamSpec("_P")
_T = TypeVar("_T")


class FileStore:
    """See `Store`. Any number of processes of one machine may use the same folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / ".partial"

    async def put(self, tenant: int, key: str, chunks: AsyncIterable[bytes]) -> Stored:
        """See `Store.put`."""
        writer = _Writer(self._partial / uuid4().hex, self._path(tenant, key), self._root)
        try:
            await _in_thread(writer.open)
            async with aclosing(pieces(chunks, _PIECE)) as cut:
                async for piece in cut:
                    await _in_thread(writer.write, piece)
            return await _in_thread(writer.finish)
        except BaseException:
            with suppress(Failure):  # what cannot be removed now is left to prune
                await _in_thread(writer.give_up)
            raise

    async def read(
        self, tenant: int, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `Store.read`."""
        file = await _in_thread(_open, self._path(tenant, key))
        if file is None:
            raise Failure("bytes_missing")
        try:
            start, end = span(os.fstat(file.fileno()).st_size, start, end)
            file.seek(start)
            while start < end:
                piece = await _in_thread(file.read, min(_PIECE, end - start))
                if not piece:
                    raise Failure("bytes_missing")
                yield piece
                start += len(piece)
        finally:
            file.close()

    async def size(self, tenant: int, key: str) -> int | None:
        """See `Store.size`."""
        return await _in_thread(_size, self._path(tenant, key))

    async def delete(self, tenant: int, prefix: str) -> int:
        """See `Store.delete`."""
        return await _in_thread(self._delete, self._path(tenant, check_prefix(prefix)))

    async def list(self, after: tuple[int, str], limit: int) -> Sequence[Found]:
        """See `Store.list`. It reads the folders on the way, those with the last keys whole."""
        return await _in_thread(self._list, after, limit)

    async def prune(self, older_than_seconds: float) -> int:
        """See `Store.prune`."""
        return await _in_thread(self._prune, time.time() - older_than_seconds)

    async def close(self) -> None:
        """See `Store.close`. Every call cleans up before it returns."""

    def _path(self, tenant: int, key: str) -> Path:
        return self._root / str(int(tenant)) / check_key(key)

    def _delete(self, path: Path) -> int:
        # Out of sight at once, by one rename; from there on it is rubbish that prune would remove, too.
        rubbish = self._partial / uuid4().hex
        self._partial.mkdir(parents=True, exist_ok=True)
        try:
            path.replace(rubbish)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        gone = _count(rubbish)
        _remove(rubbish)
        with suppress(OSError):  # not empty, or another delete was faster
            for folder in _folders(path, self._root):
                folder.rmdir()
        return gone

    def _list(self, after: tuple[int, str], limit: int) -> Sequence[Found]:
        found: list[Found] = []
        now = time.time()
        numbers = sorted(int(path.name) for path in _entries(self._root) if path.name.isdigit())
        for tenant in numbers:
            if tenant >= after[0]:
                last = after[1] if tenant == after[0] else ""
                keys = _keys(self._root / str(tenant), "", last)
                statuses = ((key, _status(self._path(tenant, key))) for key in keys)
                found += islice(
                    (
                        Found(tenant=tenant, key=key, bytes=status.st_size, age=now - status.st_mtime)
                        for key, status in statuses
                        if status is not None
                    ),
                    limit - len(found),
                )
        return found

    def _prune(self, before: float) -> int:
        old = [path for path in _entries(self._partial) if _modified(path) < before]
        for path in old:
            _remove(path)
        return len(old)


class _Writer:
    """One put, as blocking steps. The caller awaits each before the next."""

    def __init__(self, partial: Path, target: Path, root: Path) -> None:
        self._partial = partial
        self._target = target
        self._root = root
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._in_place = False

    def open(self) -> None:
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("xb", buffering=0)

    def write(self, piece: bytes) -> None:
        assert self._file is not None
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]
        self._digest.update(piece)
        self._bytes += len(piece)

    def finish(self) -> Stored:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._move()
        # A name is durable when the folder is that holds it, and so on up: some may be new.
        for folder in (*_folders(self._target, self._root), self._root):
            with suppress(FileNotFoundError):  # deleted again already
                _sync_folder(folder)
        return Stored(bytes=self._bytes, sha256=self._digest.digest())

    def _move(self) -> None:
        for attempt in range(_TRIES):
            try:
                self._target.parent.mkdir(parents=True, exist_ok=True)
                self._partial.replace(self._target)
            except (FileNotFoundError, FileExistsError):
                # A delete has just removed a folder that it left empty. (Or ours was pruned: that stays so.)
                if attempt == _TRIES - 1:
                    raise
            else:
                self._in_place = True
                return

    def give_up(self) -> None:
        if self._file is not None:
            self._file.close()
        (self._target if self._in_place else self._partial).unlink(missing_ok=True)


async def _in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Runs `work` in a thread and to its end, also when the caller is canceled meanwhile.

    A file must not be closed or removed while a thread still writes to it.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.exception()  # seen: the cancellation is what counts
        raise
    except OSError as error:
        raise Failure("storage_unavailable") from error


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb", buffering=0)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def _folders(path: Path, root: Path) -> Sequence[Path]:
    """The folders from `path` up to `root`, without `root`."""
    return path.parents[: -len(root.parts)]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _count(path: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(path)) if path.is_dir() else 1


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _modified(path: Path) -> float:
    status = _status(path)
    return time.time() if status is None else status.st_mtime


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _keys(folder: Path, under: str, after: str) -> Iterator[str]:
    """The keys in a folder and below it that come after one, bytewise; `under` is how they all begin."""
    try:
        entries = [(entry.name + "/" * entry.is_dir(), entry.name) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    # The slash after a folder's name counts: `a-b` comes before `a/1`, and `a0` after it.
    for name, plain in sorted(entries):
        key = under + name
        if not name.endswith("/"):
            if key > after:
                yield key
        elif key > after or after.startswith(key):
            yield from _keys(folder / plain, key, after)
