"""Any verbs, of any processes, in any order, at once, and with answers that are lost: what is promised holds.

The machine stands in tests/support/machine; what it is told to find stands here: the same queue with one
thing broken. `SAFELIGHT_TEST_EXAMPLES=5000` tries for hours.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS
from hypothesis.stateful import run_state_machine_as_test

from safelight.db.migrate import migrations
from safelight.jobs import lanes, queue
from support.machine.rules import Machine
from support.machine.steps import World, world

# Every example anew: five of six would be variations of the one before, which says little of forty steps.
AVAILABLE_PROVIDERS["anew"] = "hypothesis.internal.conjecture.providers.HypothesisProvider"
EXAMPLES = int(os.environ.get("SAFELIGHT_TEST_EXAMPLES", "0"))
TRY = settings(
    backend="anew",
    max_examples=EXAMPLES or 100,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=list(HealthCheck),
)
FIND = settings(TRY, max_examples=100, phases=[Phase.generate], database=None, derandomize=True)


@pytest.fixture(scope="module")
def here(shared_postgres) -> Iterator[World]:
    shared_postgres.start()
    with world(shared_postgres) as here:
        yield here


@pytest.fixture(autouse=True)
def _a_look_from_the_front_is_cheap(monkeypatch):
    """Whether it is worth its time, the clock says; here a slow machine must change nothing."""
    monkeypatch.setattr(lanes, "_CHEAP", 1e9)
    monkeypatch.setattr(lanes, "_AGE", 1e9)
    monkeypatch.setattr(lanes, "_LAG", 0.0)


@pytest.mark.timeout(0 if EXAMPLES else 900)  # it takes its time where there is a fault to be made small
def test_whatever_happens_nothing_is_lost_and_nothing_is_done_twice(here):
    def machine() -> Machine:
        return Machine(here)

    run_state_machine_as_test(machine, settings=TRY)


class Change(NamedTuple):
    """A text in a file of jobs/sql, or in a `function()`, and what stands there instead."""

    where: str
    was: str
    becomes: str


MUTANTS = {
    "an end that is recorded without its lease epoch": [
        Change("exchange()", " and r.lease_epoch = e.lease_epoch", ""),
    ],
    "an end that does not look at the cancel": [
        Change(
            "exchange()",
            "case when r.cancel_requested_at is null then e.state else 'canceled' end",
            "e.state",
        ),
        Change(
            "exchange()",
            "case when r.cancel_requested_at is null then e.reason else 'canceled' end",
            "e.reason",
        ),
        Change("exchange()", "r.cancel_requested_at is not null as canceled", "false as canceled"),
    ],
    "a claim of what runs": [
        Change("exchange()", "held is null and state = 'queued'", "held is null"),
    ],
    "a claim of one job more than there are slots": [
        Change("exchange()", "order by rank\n      limit slots", "order by rank\n      limit 1 + slots"),
    ],
    "a claim of any pipeline": [
        Change("exchange()", "where pipeline = lane_pipelines[lane] and priority", "where priority"),
    ],
    "a claim of the youngest": [
        Change("exchange()", "order by rank", "order by rank desc"),
    ],
    "slots that stay empty while jobs are due": [
        Change("exchange()", "exit when cardinality(spots) >= slots or", "exit when true or"),
    ],
    "a job of many that gets no place": [
        Change("enqueue()", "using (tenant_id, id)\n  )", "using (tenant_id, id) where a.place = 0\n  )"),
        Change(
            "enqueue()",
            "as t (id, flow, place, max_attempts, batch_id)",
            "as t (id, flow, place, max_attempts, batch_id) where place = 0",
        ),
    ],
    "a repeat that takes the place of the first away": [
        Change(
            "enqueue()",
            "returning tenant_id, id\n  ), placed as (",
            """returning tenant_id, id), gone as (
                 delete from ready r using asked a
                 where r.tenant_id = a.tenant_id and r.job_id = a.id and not exists (select from accepted)
               ), placed as (""",
        ),
    ],
    "a repeat of a stranger's key": [
        Change("find_repeat", "tenant_id = $1 and idempotency_key", "idempotency_key"),
    ],
    "a release that takes the lease epoch back": [
        Change(
            "release", "attempt = r.attempt - 1", "attempt = r.attempt - 1, lease_epoch = r.lease_epoch - 1"
        ),
    ],
    "a retry that leaves a gap": [
        Change("retry", "seq = r.seq + 1", "seq = r.seq + 2"),
    ],
    "a retry that does not look at the cancel": [
        Change("retry", "cancel_requested_at is not null", "false"),
    ],
    "a retry that does not count": [
        Change("retry", "attempt >= max_attempts", "false"),
    ],
    "a rescue that does not count": [
        Change("rescue", "l.attempt < l.max_attempts and", ""),
        Change("rescue", "(l.attempt >= l.max_attempts or l.cancel_requested_at is not null)", "false"),
    ],
    "a rescue from those who hold": [
        Change("rescue", "and lease_expires_at < now()", ""),
    ],
    "a heartbeat that keeps the lease of another": [
        Change("heartbeat", " and r.lease_epoch = b.lease_epoch", ""),
    ],
    "a cancel that is forgotten": [
        Change("cancel", "coalesce(cancel_requested_at, now())", "cancel_requested_at"),
    ],
    "a cancel by a stranger": [
        Change("cancel", "where tenant_id = $1 and job_id = $2 and state = 'queued'", "where job_id = $2"),
    ],
    "a reopened job whose lease epochs begin anew": [
        Change("reopen", "'reopened', d.lease_epoch", "'reopened', 0"),
    ],
    "a claim of a tenant that was just paused": [
        Change("exchange()", "all_go_on := cardinality(paused_tenants) = 0", "all_go_on := true"),
    ],
    "a claim of a paused pipeline": [
        Change("exchange()", "continue when lane_pipelines[lane] = any (paused);", ""),
    ],
    "an admission of more than there is room for": [
        Change("admit()", "continue when (room ->> flow.t)::integer <= 0 or", "continue when"),
    ],
    "an admission in a pause": [
        Change(
            "admit()",
            "select from pause where pause.tenant_id = w.tenant_id and",
            "select from pause where false and",
        ),
    ],
    "an admission before it is due": [
        Change("admit()", "and held = 'room' and run_at <= now()", "and held = 'room'"),
    ],
    "a release that is let in at once": [
        Change("release", "when r.gated then 'room' when", "when"),
    ],
    "a reopened job that passes the gate": [
        Change("reopen", "case when gate.shut then 'room' end", "null"),
    ],
    "an incarnation that is begun twice": [
        Change("is_newest", "epoch >= $3", "epoch < $3 and false"),
    ],
    "a job that is forgotten although it was reopened meanwhile": [
        Change("prune()", "not exists (select from ready", "true or not exists (select from ready"),
    ],
}


def functions() -> dict[str, str]:
    """What the migrations define."""
    texts = "\n".join(step.text for step in migrations())
    found = re.findall(r"(?ms)^create function ((\w+)\(.*?^(?:end )?\$\$;$)", texts)
    return {f"{name}()": f"create or replace function {rest}" for rest, name in found}


@contextmanager
def broken(here: World, changes: list[Change]) -> Iterator[None]:
    """With these changes made, and undone at the end."""
    whole = functions()
    mutants: dict[str, str] = {}
    for where, was, becomes in changes:
        text = mutants.get(where) or (whole | dict(queue._SQL))[where]
        assert was in text, f"{where} has no {was!r}"
        mutants[where] = text.replace(was, becomes)
    with pytest.MonkeyPatch.context() as patch:
        for where, text in mutants.items():
            if where in whole:
                here.run(here.pool.execute(text))
            else:
                patch.setitem(queue._SQL, where, text)
        try:
            yield
        finally:
            for where in mutants.keys() & whole.keys():
                here.run(here.pool.execute(whole[where]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("changes", MUTANTS.values(), ids=MUTANTS)
def test_the_machine_finds(here, changes):
    with broken(here, changes), pytest.raises((AssertionError, KeyError, asyncpg.PostgresError, Flaky)):
        run_state_machine_as_test(lambda: Machine(here), settings=FIND)
