"""The campaign of `make chaos`, small: every fault in turn while jobs flow, and then every job is counted.

And what counts them: it finds each thing that must not be.
"""

from dataclasses import asdict, replace
from uuid import UUID

import pytest

from chaos.campaign.audit import Findings, audit
from chaos.campaign.campaign import run
from chaos.campaign.faults import Fault, postgres_crashed
from chaos.campaign.ledger import Ledger
from chaos.campaign.plan import SHORT
from safelight.jobs.job import HandedBack
from safelight.jobs.queue import JobQueue
from support.jobs import claim, enqueue, succeeded


async def test_whatever_fails_no_acknowledged_job_is_lost_or_ends_twice(postgres, redis):
    lines: list[str] = []
    report = await run(SHORT, postgres, redis, lines.append)

    assert report.troubles() == [], "\n".join([*lines, report.text()])


async def test_a_postgres_that_says_that_it_has_committed_before_it_has_is_found_out(postgres, redis):
    plan = replace(SHORT, durable=False, jobs=0)
    crash = Fault("Postgres crashed", postgres_crashed)
    report = await run(plan, postgres, redis, [].append, [crash])

    # What the crash takes is what was not yet on the disk: acknowledged jobs, or ends of jobs that run again.
    found = report.audit.total
    assert found.lost + found.twice > 0
    assert {f"{found.lost} jobs lost", f"{found.twice} jobs ended twice"} & set(report.troubles())


@pytest.fixture
async def job(pool, tmp_path) -> UUID:
    """A job that was handed back once and then succeeded, with all that was noted of it."""
    queue, ledger = JobQueue(pool), Ledger(tmp_path)
    key = await enqueue(queue)
    ledger.note("acknowledged", key.id)
    first = await claim(queue)
    ledger.note("began", key.id)
    await queue.release([HandedBack(fence=first.fence, progress=0.0)])
    second = await claim(queue)
    ledger.note("began", key.id)
    assert await queue.complete([succeeded(second)])
    ledger.note("accepted", key.id, second.lease_epoch)
    ledger.close()
    return key.id


async def found(database, folder) -> dict[str, int]:
    """What is wrong, by name."""
    result = await audit(database, folder, [0.0])
    numbers = asdict(result.total) | {"half": result.half, "strangers": result.strangers}
    return {name: number for name, number in numbers.items() if number and name not in ("jobs", "fenced")}


async def test_a_job_that_was_handed_back_once_is_in_order(database, job, tmp_path):
    result = await audit(database, tmp_path, [0.0])

    assert result.total == Findings(jobs=1, fenced=1, broken_off=1)
    assert (result.half, result.strangers, result.total.faultless) == (0, 0, True)


TWICE = """
insert into done
select tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at,
       started_at, finished_at + interval '1 ms', progress, stage, result, outputs, error
from done
"""
WRONGS = {
    "its end is gone": ("delete from done", {"lost": 1, "half": 1}),
    "it ended twice": (TWICE, {"twice": 1}),
    "it failed": ("update done set state = 'failed', error = '{}', result = null", {"wrong": 1}),
    "an event is missing at its end": ("update done set seq = seq + 1", {"gaps": 1}),
    "an event is missing before": ("update attempt set claimed_seq = 3", {"gaps": 1}),
    "its last lease epoch is an old one": ("update done set lease_epoch = 1", {"epochs": 1, "late": 1}),
    "a run ended it that had lost its lease": ("update done set lease_epoch = 3", {"late": 1}),
    "only its end is there": ("delete from job", {"half": 2}),
}


@pytest.mark.parametrize(("statement", "wrong"), WRONGS.values(), ids=WRONGS)
async def test_a_job_of_which_something_is_wrong_is_found(database, pool, job, tmp_path, statement, wrong):
    await pool.execute(statement)

    assert await found(database, tmp_path) == {"broken_off": 1} | wrong


async def test_an_end_that_two_workers_were_told_to_count_is_found(database, job, tmp_path):
    Ledger(tmp_path).note("accepted", job, 2)

    assert await found(database, tmp_path) == {"broken_off": 1, "twice": 1}


async def test_jobs_that_still_wait_or_were_never_submitted_are_found(database, pool, tmp_path):
    ledger = Ledger(tmp_path)
    ledger.note("acknowledged", (await enqueue(JobQueue(pool))).id)
    await enqueue(JobQueue(pool))

    assert await found(database, tmp_path) == {"stuck": 1, "strangers": 1}
