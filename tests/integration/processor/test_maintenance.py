"""What every processor does beside its work: old jobs and their bytes go, orphans go, and nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from safelight.config import Settings
from safelight.db import horizon
from safelight.errors import Failure
from safelight.jobs.job import HandedBack, StoredFile
from safelight.jobs.orphans import Orphans
from safelight.jobs.queue import JobQueue
from safelight.jobs.retention import Retention
from safelight.storage.files import FileStore
from safelight.storage.store import open_store
from safelight.telemetry import metrics
from safelight.wire.uuid7 import uuid7
from safelight_processor.maintenance import pruner, sweeper
from safelight_processor.maintenance.horizon import HorizonWatcher
from safelight_processor.maintenance.partitioner import Partitioner
from safelight_processor.maintenance.pruner import Pruner
from safelight_processor.maintenance.sweeper import Sweeper
from support.history import backdate, days, ended, make_day, prune_all
from support.jobs import LEASE, WORKER, claim, failed, new_job, running, succeeded

SETTINGS = Settings()


@pytest.fixture
def queue(pool):
    return JobQueue(pool)


@pytest.fixture
def retention(pool):
    return Retention(pool)


@pytest.fixture(params=["postgres", "files"])
def store(request, pool, tmp_path):
    return FileStore(tmp_path / "store") if request.param == "files" else open_store("postgres:", pool)


@pytest.fixture
def prune(retention, store):
    return Pruner(retention, store, SETTINGS).run_once


async def put(store, key, tenant=1) -> StoredFile:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 100

    await store.put(tenant, key, body())
    return StoredFile(
        name="a.jpg", key=key, media_type="image/jpeg", bytes=100, width=1, height=1, sha256="00"
    )


async def keys(store):
    """What is stored, without the ids that it begins with."""
    return [found.key.partition("/")[2] for found in await store.list((0, ""), 1000)]


async def with_bytes(queue, store, upload="ab", days_ago=None, pool=None):
    """A job that has succeeded, with an input and an output; so many days ago."""
    new = new_job()
    await queue.enqueue(new_job(id=new.id, inputs=[await put(store, f"{new.id}/in/{upload}/0")]))
    lease = await claim(queue)
    output = await put(store, f"{new.id}/out/{lease.lease_epoch}/a.jpg")
    await queue.complete([succeeded(lease, outputs=[output])])
    if days_ago is not None:
        await backdate(pool, [lease.key], days_ago)
    return lease.key


def value(metric):
    """Of a metric, by its name as it is exposed."""
    found = re.search(rf"^{metric} ([0-9.e+-]+)$", metrics.render()[1].decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


# Old jobs


async def test_the_bytes_of_old_jobs_go_with_them_and_those_of_others_stay(queue, pool, store, prune):
    old = await with_bytes(queue, store, days_ago=8, pool=pool)
    await put(store, f"{old.id}/out/7/lost")  # of a run that lost its lease
    young = await with_bytes(queue, store, upload="cd")
    before = value("safelight_jobs_pruned_total")

    await prune()

    assert await queue.get(old) is None
    assert await keys(store) == ["in/cd/0", "out/1/a.jpg"]
    assert await queue.get(young) is not None
    assert await pool.fetchval("select count(*) from debris") == 0
    assert value("safelight_jobs_pruned_total") == before + 1


async def test_what_is_uploaded_under_the_id_of_a_forgotten_job_is_not_touched(queue, pool, store, retention):
    """Between the commit that forgets a job and the end of its bytes, somebody may send the same id again."""
    old = await with_bytes(queue, store, days_ago=8, pool=pool)
    await prune_all(retention)  # and then its pruner died
    await put(store, f"{old.id}/in/fresh/0")
    await pool.execute("update debris set since = now() - interval '1 hour'")

    await Pruner(retention, store, SETTINGS).run_once()

    assert await keys(store) == ["in/fresh/0"]


async def test_what_a_pruner_that_died_has_left_is_found_by_the_next(queue, pool, store, retention):
    """At each step: nothing was done about the bytes; some are gone; all are, and that was not noted."""
    left = []
    for _ in range(3):
        old = await with_bytes(queue, store, days_ago=8, pool=pool)
        [debris] = await prune_all(retention)
        left.append((old, debris))
    await store.delete(1, left[1][1].keys[0])
    for key in left[2][1].keys:
        await store.delete(1, key)
    prune = Pruner(retention, store, SETTINGS).run_once

    await prune()
    assert await pool.fetchval("select count(*) from debris") == 3  # whose they are may still be at it

    await pool.execute("update debris set since = now() - interval '1 hour'")
    await prune()
    assert await keys(store) == []
    assert await pool.fetchval("select count(*) from debris") == 0
    assert await pool.fetchval("select count(*) from forgotten") == 3


async def test_a_store_that_is_away_holds_up_no_forgetting_and_loses_no_bytes(
    queue, pool, store, retention, monkeypatch
):
    for _ in range(3):
        await with_bytes(queue, store, days_ago=8, pool=pool)
    prune = Pruner(retention, store, SETTINGS).run_once

    async def away(*_):
        raise Failure("storage_unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "delete", away)
        with pytest.raises(Failure) as caught:
            await prune()
    assert caught.value.code == "storage_unavailable"
    assert await pool.fetchval("select count(*) from job") == 0
    assert len(await keys(store)) == 6

    await pool.execute("update debris set since = now() - interval '1 hour'")
    await prune()
    assert await keys(store) == []


async def test_a_day_goes_when_all_of_it_is_old_and_jobs_that_live_on_stay_whole(
    queue, pool, store, retention, prune
):
    old, edge = await make_day(pool, 9), await make_day(pool, 7)
    await with_bytes(queue, store, days_ago=9, pool=pool)
    lease = await running(queue)
    await queue.complete([failed(lease)])
    await backdate(pool, [lease.key], 9)
    await queue.reopen(lease.key)
    before = value('safelight_partitions_dropped_total{table="done"}')

    await prune()

    assert old not in await days(pool)
    assert edge in await days(pool)
    assert value('safelight_partitions_dropped_total{table="done"}') == before + 1
    job = await queue.get(lease.key)
    assert job is not None
    assert (job.state, job.reason) == ("queued", "reopened")
    assert await pool.fetchval("select count(*) from done") == 1


async def test_jobs_that_are_kept_for_less_than_a_day_leave_no_rows_behind(queue, pool, store, retention):
    key = await ended(queue, pool, 0.02)
    kept = await ended(queue, pool, 0.001)

    await Pruner(retention, store, Settings(retention_days=0.01)).run_once()

    assert await queue.get(key) is None
    assert await queue.get(kept) is not None
    assert await pool.fetchval("select count(*) from done") == 1


async def test_a_pruner_goes_on_where_it_was_and_misses_nothing(queue, pool, store, retention, monkeypatch):
    monkeypatch.setattr(pruner, "_SECONDS", 0.0)
    monkeypatch.setattr(pruner, "_LIMIT", 10)
    one = Pruner(retention, store, SETTINGS)
    await queue.enqueue_many([new_job() for _ in range(25)])
    await queue.complete([failed(lease) for lease in await queue.claim(["noop"], 25, WORKER, LEASE)])
    await pool.execute("update done set finished_at = finished_at - interval '30 days'")

    left = []
    for _ in range(4):
        await one.run_once()
        left.append((await pool.fetchval("select count(*) from job"), one.interval < 10))

    assert left == [(15, True), (5, True), (0, False), (0, False)]
    later = await ended(queue, pool, 7.0001)  # later than all that was gone through
    await one.run_once()
    assert await queue.get(later) is None


async def test_a_pruner_is_done_with_debris_before_it_rests(queue, pool, store, retention, monkeypatch):
    monkeypatch.setattr(pruner, "_LIMIT", 2)
    for _ in range(5):
        await with_bytes(queue, store, days_ago=8, pool=pool)
    await prune_all(retention)
    await pool.execute("update debris set since = now() - interval '1 hour'")
    one = Pruner(retention, store, SETTINGS)

    runs = []
    while not runs or one.interval < 10:
        await one.run_once()
        runs.append(await pool.fetchval("select count(*) from debris"))

    assert runs == [3, 1, 0]
    assert await keys(store) == []


async def test_a_job_that_somebody_had_is_forgotten_in_the_next_run(queue, pool, store, prune):
    held = await ended(queue, pool, 30)
    others = [await ended(queue, pool, 20) for _ in range(3)]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select from job where id = $1 for update", held.id)
        await prune()
    assert [await queue.get(key) for key in others] == [None] * 3
    assert await queue.get(held) is not None

    await prune()

    assert await queue.get(held) is None


async def test_several_pruners_do_each_other_no_harm(queue, pool, store):
    for _ in range(20):
        await with_bytes(queue, store, days_ago=8, pool=pool)
    kept = await with_bytes(queue, store)
    await make_day(pool, 9)
    pruners = [Pruner(Retention(pool), store, SETTINGS) for _ in range(3)]

    await asyncio.gather(*(one.run_once() for one in pruners))
    await pruners[0].run_once()

    assert await pool.fetchval("select count(*) from forgotten") == 20
    assert await pool.fetchval("select count(*) from debris") == 0
    assert await keys(store) == ["in/ab/0", "out/1/a.jpg"]
    assert await queue.get(kept) is not None


# Orphans


@pytest.fixture
def sweep(pool, store, monkeypatch):
    """Turns, one after the other; whatever is stored is old."""
    monkeypatch.setattr(sweeper.Sweeper, "interval", 0.0)
    patient = Sweeper(Orphans(pool), store, SETTINGS)
    patient._grace = -60.0
    return patient.run_once


async def test_bytes_that_no_job_refers_to_are_removed_and_counted(queue, pool, store, sweep):
    stored = await with_bytes(queue, store)
    files, size = value("safelight_orphans_removed_total"), value("safelight_orphan_bytes_removed_total")
    await put(store, f"{uuid7()}/in/never/0")  # the API died before the job was enqueued
    await put(store, f"{stored.id}/in/again/0")  # of a repeat, or of one that lost against the first
    await put(store, f"{stored.id}/out/0/lost.jpg")  # of a run that lost its lease
    await put(store, f"{uuid7()}/out/1/forgotten.jpg")  # written when the job was forgotten

    await sweep()

    assert await keys(store) == ["in/ab/0", "out/1/a.jpg"]
    assert value("safelight_orphans_removed_total") == files + 4
    assert value("safelight_orphan_bytes_removed_total") == size + 400


async def test_what_a_live_job_needs_is_not_removed(queue, pool, store, sweep):
    new = new_job()
    await queue.enqueue(new_job(id=new.id, inputs=[await put(store, f"{new.id}/in/ab/0")]))
    lease = await claim(queue)
    await queue.release([_handed_back(lease)])
    lease = await claim(queue)
    await put(store, f"{new.id}/out/1/a.jpg")  # of the run before: nobody will ever accept it
    output = await put(store, f"{new.id}/out/2/a.jpg")  # of this run, which is about to say so

    await sweep()

    assert await keys(store) == ["in/ab/0", "out/2/a.jpg"]
    assert await queue.complete([succeeded(lease, outputs=[output])])
    await sweep()
    assert await keys(store) == ["in/ab/0", "out/2/a.jpg"]


def _handed_back(lease):
    return HandedBack(fence=lease.fence, progress=0.0)


async def test_outputs_of_a_run_that_was_handed_back_are_orphans_before_the_next_begins(
    queue, pool, store, sweep
):
    lease = await running(queue)
    await put(store, f"{lease.id}/out/1/a.jpg")
    await queue.release([_handed_back(lease)])

    await sweep()

    assert await keys(store) == []


async def test_another_tenant_s_job_of_the_same_id_keeps_nothing(queue, pool, store, sweep):
    new = new_job()
    mine = await put(store, f"{new.id}/in/ab/0")
    await put(store, f"{new.id}/in/ab/0", tenant=2)
    await queue.enqueue(new_job(id=new.id, inputs=[mine]))

    await sweep()

    assert [found.tenant for found in await store.list((0, ""), 10)] == [1]


async def test_what_is_young_and_what_is_no_job_s_is_left_alone(queue, pool, store, monkeypatch):
    await put(store, "uploads/0193b2c4/7")
    await put(store, f"{uuid7()}/in/young/0")

    await Sweeper(Orphans(pool), store, SETTINGS).run_once()

    assert len(await keys(store)) == 2


async def test_the_whole_store_is_gone_through_and_begun_again(queue, pool, store, sweep, monkeypatch):
    monkeypatch.setattr(sweeper, "_PAGE", 3)
    monkeypatch.setattr(sweeper, "_PAGES", 2)
    for _ in range(10):
        await put(store, f"{uuid7()}/in/ab/0")
    kept = [(await with_bytes(queue, store)).id for _ in range(3)]

    left = []
    for _ in range(4):
        await sweep()
        left.append(len(await keys(store)) - 2 * len(kept))

    assert left[:2] == [4, 0]
    await put(store, f"{uuid7()}/in/ab/0")
    for _ in range(3):
        await sweep()
    assert len(await keys(store)) == 2 * len(kept)


async def test_a_turn_is_taken_by_one_and_where_it_ended_is_known_to_all(pool):
    mine, yours = Orphans(pool), Orphans(pool)

    assert await mine.take_turn(30.0) == (0, "")
    assert await yours.take_turn(30.0) is None
    await mine.note_turn(3, "a/b")
    assert await yours.take_turn(0.0) == (3, "a/b")


async def test_a_turn_whose_sweeper_died_is_taken_again_from_where_it_began(queue, pool, store, sweep):
    await put(store, f"{uuid7()}/in/ab/0")
    await Orphans(pool).take_turn(0.0)

    await sweep()

    assert await keys(store) == []


# Days to come, and the horizon


async def test_days_to_come_are_made_and_told(pool, retention):
    await pool.execute(f"drop table {(await days(pool))[-1]}")

    await Partitioner(retention).run_once()

    assert 7 <= value("safelight_history_ahead_seconds") / 86400 <= 8


async def test_what_holds_back_vacuum_for_long_is_told_and_warned_of(capsys):
    class Held:
        async def look(self):
            return horizon.Horizon(601.0, 12_345, "session 7 reports", 99)

    await HorizonWatcher(Held(), SETTINGS).run_once()

    assert value("safelight_database_horizon_seconds") == 601
    assert value("safelight_database_horizon_transactions") == 12_345
    assert value("safelight_ready_dead_tuples") == 99
    said = capsys.readouterr().out
    assert "horizon.held" in said
    assert "session 7 reports" in said
