"""What every store promises (`safelight.storage.store.Store`), on a real Postgres and a real folder."""

import asyncio
import hashlib
import os
import resource
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import psutil
import pytest

from safelight.config import Settings
from safelight.db.pool import open_pool
from safelight.errors import Failure
from safelight.storage.files import FileStore
from safelight.storage.postgres import CHUNK, PostgresStore
from safelight.storage.store import Store, open_store, pieces, span

MiB = 1024 * 1024
TENANT, OTHER = 7, 8
LEFTOVERS = """
select (select count(*) from blob) + (select count(*) from blob_loose) + (select count(*) from blob_chunk)
"""


class Bench:
    """A store, and a look underneath: how many rows or files there are, visible or not."""

    def __init__(self, store: Store, things: Callable[[], Awaitable[int]]) -> None:
        self.store = store
        self.things = things

    async def read(self, key: str, start: int = 0, end: int | None = None, tenant: int = TENANT) -> bytes:
        return b"".join([chunk async for chunk in self.store.read(tenant, key, start, end)])


def rows_of(pool: asyncpg.Pool) -> Bench:
    async def rows() -> int:
        return int(await pool.fetchval(LEFTOVERS))

    return Bench(open_store("postgres:", pool), rows)


def folder_of(root: Path) -> Bench:
    async def files() -> int:
        return sum(len(names) for _, _, names in os.walk(root))

    return Bench(FileStore(root), files)


@pytest.fixture
async def shared_sessions(through_pgbouncer: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool behind PgBouncer."""
    async with open_pool(Settings(database_url=through_pgbouncer)) as pool:
        yield pool


@pytest.fixture(params=["pool", "shared_sessions", "files"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "files":
        return folder_of(tmp_path / "store")
    return rows_of(request.getfixturevalue(request.param))


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def in_chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


class Halting:
    """A body that gives some bytes and then waits for ever; `halted` tells when."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.halted = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body
        self.halted.set()
        await asyncio.Event().wait()


SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, MiB - 1, MiB, MiB + 1, 2 * MiB + 12_345]


async def test_what_was_put_is_read_back_with_its_size_and_digest(bench: Bench) -> None:
    for size in SIZES:
        body = os.urandom(size)
        stored = await bench.store.put(TENANT, f"j/in/{size}", in_chunks(body, 65_000))
        assert (stored.bytes, stored.sha256) == (size, hashlib.sha256(body).digest())
        assert await bench.read(f"j/in/{size}") == body
        assert await bench.store.size(TENANT, f"j/in/{size}") == size


async def test_how_the_body_was_cut_makes_no_difference(bench: Bench) -> None:
    body = os.urandom(3 * MiB)
    await bench.store.put(TENANT, "whole", chunks(body))
    await bench.store.put(TENANT, "crumbs", in_chunks(body, 1021))
    await bench.store.put(TENANT, "gaps", chunks(b"", body[:5], b"", b"", body[5:], b""))
    for key in ("whole", "crumbs", "gaps"):
        assert await bench.read(key) == body


RANGES: Sequence[tuple[int, int | None]] = [
    (0, 0),
    (0, 1),
    (5, 5),
    (1, CHUNK),
    (CHUNK - 1, CHUNK + 1),
    (CHUNK, CHUNK),
    (CHUNK, 2 * CHUNK),
    (CHUNK + 3, 2 * CHUNK - 3),
    (0, None),
    (2 * CHUNK + 7, None),
    (2 * CHUNK + 700, 10**12),
    (10**12, None),
    (10**12, 10**13),
    (9, 3),
]


async def test_a_range_is_half_open_and_ends_with_the_file(bench: Bench) -> None:
    body = os.urandom(2 * CHUNK + 999)
    await bench.store.put(TENANT, "k", chunks(body))
    for start, end in RANGES:
        assert await bench.read("k", start, end) == body[start:end], (start, end)


async def test_a_negative_range_is_a_mistake_of_the_caller(bench: Bench) -> None:
    await bench.store.put(TENANT, "k", chunks(b"abc"))
    with pytest.raises(ValueError, match="from the start"):
        await bench.read("k", -1)


async def test_an_unknown_key_is_said_to_be_missing_before_the_first_chunk(bench: Bench) -> None:
    await bench.store.put(TENANT, "j/in/0", chunks(b"abc"))
    assert await bench.store.size(TENANT, "j/in/1") is None
    for key in ("j/in/1", "j/in", "j/in/0/x", "nowhere"):
        with pytest.raises(Failure) as caught:
            await anext(aiter(bench.store.read(TENANT, key)))
        assert caught.value.code == "bytes_missing"


async def test_tenants_do_not_see_each_other(bench: Bench) -> None:
    await bench.store.put(TENANT, "k", chunks(b"mine"))
    await bench.store.put(OTHER, "k", chunks(b"theirs"))
    assert await bench.read("k") == b"mine"
    assert await bench.store.delete(OTHER, "k") == 1
    assert await bench.store.size(OTHER, "k") is None
    assert await bench.read("k") == b"mine"


async def test_a_second_put_replaces_the_first_and_leaves_nothing_of_it(bench: Bench) -> None:
    await bench.store.put(TENANT, "k", chunks(b"old" * CHUNK))
    await bench.store.put(TENANT, "k", chunks(b"new"))
    assert await bench.read("k") == b"new"
    await bench.store.delete(TENANT, "k")
    assert await bench.things() == 0


async def test_concurrent_puts_of_one_key_never_mix(bench: Bench) -> None:
    bodies = [bytes([n]) * (CHUNK + n) for n in range(6)]
    await asyncio.gather(*(bench.store.put(TENANT, "k", in_chunks(body, 100_000)) for body in bodies))
    assert await bench.read("k") in bodies
    assert await bench.store.delete(TENANT, "k") == 1
    assert await bench.things() == 0


async def test_many_puts_at_once_all_arrive(bench: Bench) -> None:
    bodies = {f"j/in/{n}": os.urandom(CHUNK + n) for n in range(12)}
    await asyncio.gather(*(bench.store.put(TENANT, key, chunks(body)) for key, body in bodies.items()))
    for key, body in bodies.items():
        assert await bench.read(key) == body


async def test_a_put_whose_body_breaks_leaves_nothing(bench: Bench) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield os.urandom(2 * MiB)
        raise Failure("body_incomplete")

    with pytest.raises(Failure) as caught:
        await bench.store.put(TENANT, "k", broken())
    assert caught.value.code == "body_incomplete"
    assert await bench.store.size(TENANT, "k") is None
    assert await bench.things() == 0


async def test_a_canceled_put_leaves_nothing(bench: Bench) -> None:
    body = Halting(os.urandom(2 * MiB))
    put = asyncio.create_task(bench.store.put(TENANT, "k", body))
    await body.halted.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert await bench.store.size(TENANT, "k") is None
    assert await bench.things() == 0


async def test_a_failed_put_leaves_what_was_there_before(bench: Bench) -> None:
    await bench.store.put(TENANT, "k", chunks(b"old"))
    body = Halting(os.urandom(MiB))
    put = asyncio.create_task(bench.store.put(TENANT, "k", body))
    await body.halted.wait()
    put.cancel()
    await asyncio.wait({put})
    assert await bench.read("k") == b"old"


async def test_a_put_canceled_at_any_moment_is_there_or_leaves_nothing(bench: Bench) -> None:
    for turns in range(0, 80, 4):
        put = asyncio.create_task(bench.store.put(TENANT, "k", chunks(b"x" * (CHUNK + 1))))
        for _ in range(turns):
            await asyncio.sleep(0)
        put.cancel()
        await asyncio.wait({put})
        there = None if put.cancelled() else CHUNK + 1
        assert await bench.store.size(TENANT, "k") == there, turns
        await bench.store.delete(TENANT, "k")
        assert await bench.things() == 0, turns


async def test_delete_takes_a_key_and_what_is_under_it_and_no_longer_sibling(bench: Bench) -> None:
    for key in ("a/1/x", "a/1/y/z", "a/10", "a/1.jpg", "a/1-b/x", "a/1_", "b/1"):
        await bench.store.put(TENANT, key, chunks(key.encode()))
    assert await bench.store.delete(TENANT, "a/1/") == 2
    assert await bench.store.size(TENANT, "a/1/x") is None
    for key in ("a/10", "a/1.jpg", "a/1-b/x", "a/1_", "b/1"):
        assert await bench.read(key) == key.encode()
    assert await bench.store.delete(TENANT, "a/10") == 1
    assert await bench.store.delete(TENANT, "a") == 3
    assert await bench.store.delete(TENANT, "b/1") == 1
    assert await bench.things() == 0


async def test_delete_is_idempotent(bench: Bench) -> None:
    await bench.store.put(TENANT, "a/1", chunks(b"x"))
    assert [await bench.store.delete(TENANT, "a") for _ in range(3)] == [1, 0, 0]
    assert await bench.store.delete(TENANT, "a/1/x") == 0


async def test_deletes_and_puts_of_one_folder_do_not_hinder_each_other(bench: Bench) -> None:
    async def come_and_go(n: int) -> None:
        for _ in range(8):
            await bench.store.put(TENANT, f"a/{n}", chunks(b"x" * n))
            assert await bench.store.delete(TENANT, f"a/{n}") == 1

    await asyncio.gather(*(come_and_go(n) for n in range(1, 6)))
    assert await bench.things() == 0


async def listed(bench: Bench, limit: int) -> list[tuple[int, str]]:
    """Everything, page by page."""
    found: list[tuple[int, str]] = []
    after = (0, "")
    while page := await bench.store.list(after, limit):
        assert len(page) <= limit
        found += [(one.tenant, one.key) for one in page]
        after = found[-1]
    return found


SIBLINGS = ["a/1/x", "a/1/y/z", "a/1/y0", "a/10", "a/1.jpg", "a/1-b/x", "a/1_", "b", "B/1", "0/0", "z"]


async def test_all_that_is_stored_is_listed_in_the_order_of_its_keys_once(bench: Bench) -> None:
    for tenant in (TENANT, OTHER, 10):  # ten comes after eight, not before
        for key in SIBLINGS:
            await bench.store.put(tenant, key, chunks(key.encode()))
    everything = [(tenant, key) for tenant in (TENANT, OTHER, 10) for key in sorted(SIBLINGS)]
    for limit in (1, 2, 3, 1000):
        assert await listed(bench, limit) == everything, limit


async def test_a_list_goes_on_after_a_key_that_is_gone_meanwhile(bench: Bench) -> None:
    for key in SIBLINGS:
        await bench.store.put(TENANT, key, chunks(b"x"))
    await bench.store.delete(TENANT, "a/1")
    rest = await bench.store.list((TENANT, "a/1/y/z"), 1000)
    assert [one.key for one in rest] == ["a/10", "a/1_", "b", "z"]
    assert [one.key for one in await bench.store.list((TENANT - 1, "z"), 1)] == ["0/0"]
    assert await bench.store.list((TENANT, "z"), 1000) == []


async def test_what_is_listed_has_its_size_and_its_age(bench: Bench) -> None:
    assert await bench.store.list((0, ""), 10) == []
    await bench.store.put(TENANT, "j/in/0", chunks(b"x" * 12_345))
    [found] = await bench.store.list((0, ""), 10)
    assert (found.tenant, found.key, found.bytes) == (TENANT, "j/in/0", 12_345)
    assert -1 < found.age < 60


async def test_an_unfinished_put_and_what_is_deleted_are_not_listed(bench: Bench) -> None:
    await bench.store.put(TENANT, "gone", chunks(b"x"))
    body = Halting(os.urandom(2 * MiB))
    put = asyncio.create_task(bench.store.put(TENANT, "k", body))
    await body.halted.wait()
    await bench.store.delete(TENANT, "gone")
    assert await bench.store.list((0, ""), 10) == []
    put.cancel()
    await asyncio.wait({put})


BAD_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "a//b",
    "a/",
    "..",
    "../8/k",
    "a/../../8/k",
    "a/./b",
    ".partial/x",
    "a/.hidden",
    "a\\b",
    "a b",
    "a\0",
    "a\n",
    "ä",
    "a" * 513,
]


async def test_a_key_that_could_lead_elsewhere_is_refused(bench: Bench) -> None:
    for key in BAD_KEYS:
        with pytest.raises(ValueError, match="no key"):
            await bench.store.put(TENANT, key, chunks(b"x"))
        with pytest.raises(ValueError, match="no key"):
            await bench.read(key)
        with pytest.raises(ValueError, match="no key"):
            await bench.store.size(TENANT, key)
        if key != "a/":  # the one way in which a prefix may differ from a key
            with pytest.raises(ValueError, match="no key"):
                await bench.store.delete(TENANT, key)
    assert await bench.things() == 0


async def test_a_large_file_streams_through_little_memory(bench: Bench) -> None:
    size, block = 64 * MiB, os.urandom(256 * 1024)

    async def long() -> AsyncIterator[bytes]:
        for _ in range(size // len(block)):
            yield block

    process = psutil.Process()
    await bench.store.put(TENANT, "warm", chunks(block * 8))
    before = highest = process.memory_info().rss
    stored = await bench.store.put(TENANT, "large", long())
    digest = hashlib.sha256()
    async for chunk in bench.store.read(TENANT, "large"):
        digest.update(chunk)
        highest = max(highest, process.memory_info().rss)
    assert stored.bytes == size
    assert stored.sha256 == digest.digest()
    assert highest - before < 24 * MiB


async def test_a_fresh_put_is_not_pruned_and_an_old_one_is(bench: Bench) -> None:
    body = Halting(os.urandom(2 * MiB))
    put = asyncio.create_task(bench.store.put(TENANT, "k", body))
    await body.halted.wait()
    assert await bench.store.prune(3600) == 0
    assert await bench.things() > 0
    assert await bench.store.prune(-1) == 1
    assert await bench.things() == 0
    put.cancel()
    await asyncio.wait({put})


async def test_pruning_leaves_what_is_complete(bench: Bench) -> None:
    await bench.store.put(TENANT, "k", chunks(b"abc"))
    assert await bench.store.prune(-1) == 0
    assert await bench.read("k") == b"abc"


async def test_closing_waits_for_what_is_still_being_removed(bench: Bench) -> None:
    body = Halting(os.urandom(4 * MiB))
    put = asyncio.create_task(bench.store.put(TENANT, "k", body))
    await body.halted.wait()
    for _ in range(3):  # the caller insists, and does not wait for the cleaning up
        put.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({put})
    await bench.store.close()
    assert await bench.things() == 0


# What only one of them can show


async def test_a_put_whose_process_died_is_pruned_from_postgres(pool: asyncpg.Pool, database: str) -> None:
    bench = rows_of(pool)
    own = await asyncpg.create_pool(database, min_size=1, max_size=1)
    body = Halting(os.urandom(3 * CHUNK))
    put = asyncio.create_task(PostgresStore(own).put(TENANT, "k", body))
    await body.halted.wait()
    own.terminate()  # so it cannot clean up after itself
    put.cancel()
    await asyncio.wait({put})
    assert await bench.store.size(TENANT, "k") is None
    assert await bench.things() > 0
    assert await bench.store.prune(-1) == 1
    assert await bench.things() == 0


async def test_a_put_that_was_pruned_while_it_was_slow_is_refused(pool: asyncpg.Pool) -> None:
    bench = rows_of(pool)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK
        paused.set()
        await go_on.wait()
        yield b"y" * CHUNK

    put = asyncio.create_task(bench.store.put(TENANT, "k", slow()))
    await paused.wait()
    assert await bench.store.prune(-1) == 1
    go_on.set()
    with pytest.raises(Failure) as caught:
        await put
    assert caught.value.code == "storage_unavailable"
    assert caught.value.retryable
    assert await bench.things() == 0


async def test_a_slow_reader_holds_no_connection(pool: asyncpg.Pool) -> None:
    bench = rows_of(pool)
    await bench.store.put(TENANT, "k", chunks(b"x" * 3 * CHUNK))
    reading = aiter(bench.store.read(TENANT, "k"))
    await anext(reading)
    assert pool.get_idle_size() == pool.get_size()


async def test_a_slow_writer_holds_no_connection(pool: asyncpg.Pool) -> None:
    bench = rows_of(pool)
    body = Halting(b"x" * 3 * CHUNK)
    put = asyncio.create_task(bench.store.put(TENANT, "k", body))
    await body.halted.wait()
    assert pool.get_idle_size() == pool.get_size()
    put.cancel()
    await asyncio.wait({put})


async def test_a_blob_that_is_deleted_under_its_reader_ends_as_missing(pool: asyncpg.Pool) -> None:
    bench = rows_of(pool)
    await bench.store.put(TENANT, "k", chunks(b"x" * 3 * CHUNK))
    reading = aiter(bench.store.read(TENANT, "k"))
    await anext(reading)
    await bench.store.delete(TENANT, "k")
    with pytest.raises(Failure) as caught:
        await anext(reading)
    assert caught.value.code == "bytes_missing"


async def test_a_database_that_is_away_is_said_to_be_unavailable(database: str) -> None:
    pool = await asyncpg.create_pool(database, min_size=0, max_size=2)
    store = PostgresStore(pool)
    pool.terminate()
    for attempt in (
        store.put(TENANT, "k", chunks(b"x")),
        store.size(TENANT, "k"),
        store.delete(TENANT, "k"),
        store.prune(1),
        store.list((0, ""), 1),
        anext(aiter(store.read(TENANT, "k"))),
    ):
        with pytest.raises(Failure) as caught:
            await attempt
        assert caught.value.code == "storage_unavailable"


async def test_a_folder_that_cannot_be_written_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(Failure) as caught:
        await FileStore(tmp_path / "store").put(TENANT, "k", chunks(b"x"))
    assert caught.value.code == "storage_unavailable"


async def test_a_disk_that_takes_no_more_is_said_to_be_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    bench = folder_of(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MiB, limits[1]))
    try:
        with pytest.raises(Failure) as caught:
            await bench.store.put(TENANT, "k", chunks(b"x" * 3 * MiB))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "storage_unavailable"
    assert await bench.store.size(TENANT, "k") is None
    assert await bench.things() == 0


def test_an_address_names_a_store(tmp_path: Path) -> None:
    assert isinstance(open_store("postgres:", None), PostgresStore)  # type: ignore[arg-type]
    assert isinstance(open_store(f"file://{tmp_path}", None), FileStore)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["", "postgres", "file://", "file:///", "file://host/path", "s3://b", "/a"])
def test_an_address_that_names_no_store_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(Failure) as caught:
        open_store(url, None)  # type: ignore[arg-type]
    assert caught.value.code == "setting_invalid"


async def test_pieces_are_equal_but_for_the_last() -> None:
    async def cut(body: AsyncIterable[bytes]) -> list[int]:
        return [len(piece) async for piece in pieces(body, 10)]

    assert await cut(chunks(b"a" * 25, b"", b"b" * 5)) == [10, 10, 10]
    assert await cut(chunks(b"a" * 3, b"b" * 8)) == [10, 1]
    assert await cut(chunks()) == []


def test_a_span_lies_within_the_file() -> None:
    assert span(10, 3, None) == (3, 10)
    assert span(10, 3, 99) == (3, 10)
    assert span(10, 99, None) == (10, 10)
    assert span(10, 5, 2) == (2, 2)
