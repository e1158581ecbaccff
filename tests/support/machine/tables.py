"""What stands in the tables of the queue, and what must be true of it whatever anybody did.

`Ledger` knows no verb's meaning, only what was promised to somebody: jobs that were accepted, leases that
were granted, cancels that were taken on, ends that were recorded. It looks at the tables after every step.
The model in `model` says more, and is not needed for any of this.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import asyncpg

from safelight.jobs.job import Fence
from safelight.jobs.lanes import Lane
from safelight.jobs.states import FINAL_STATES, REASONS
from safelight.wire.key import JobKey
from support.machine.model import Back, End, Known, Row

# One statement, so that it is one moment.
_READ = """
select 'job' as place, tenant_id, id as job_id, 0 as epoch, 0 as seq, '' as state, '' as reason, 0 as attempt,
       0 as lease_epoch, '{}'::text[] as crashes, false as cancel, false as due, false as expired,
       pipeline, priority, 0 as rank, max_attempts,
       false as gated, null as held
from job
union all
select 'ready', tenant_id, job_id, epoch, seq, state, reason, attempt, lease_epoch, crashes,
       cancel_requested_at is not null, run_at <= now(),
       coalesce(lease_expires_at < now(), false), pipeline, priority, rank, max_attempts, gated, held
from ready
union all
select 'done', tenant_id, job_id, epoch, seq, state, reason, attempt, lease_epoch,
       '{}', false, false, false, pipeline, 0, 0, 0, false, null
from done
union all
select 'attempt', tenant_id, job_id, epoch, claimed_seq, '', reason, attempt, lease_epoch,
       '{}', false, false, false, '', 0, 0, 0, false, null
from attempt
"""


class Place(NamedTuple):
    """Where a waiting job stands in line."""

    lane: Lane
    rank: int


class Gate(NamedTuple):
    """Whether a live job has one, and what it is held for."""

    gated: bool
    held: str | None

    @property
    def room(self) -> bool:
        """Whether it takes some of what is limited: it may be claimed, or runs."""
        return self.gated and self.held is None


class Tables(NamedTuple):
    """All of them, at one moment."""

    jobs: Mapping[JobKey, int]  # its max_attempts
    ready: Mapping[JobKey, Row]
    places: Mapping[JobKey, Place]
    gates: Mapping[JobKey, Gate]
    ends: Mapping[JobKey, tuple[End, ...]]
    backs: Mapping[JobKey, tuple[Back, ...]]

    def of(self, key: JobKey) -> tuple[bool, Row | None, tuple[End, ...], tuple[Back, ...]]:
        """All that is known of a job."""
        return key in self.jobs, self.ready.get(key), self.ends.get(key, ()), self.backs.get(key, ())


def expected(known: Known | None) -> tuple[bool, Row | None, tuple[End, ...], tuple[Back, ...]]:
    """What `Tables.of` has to be."""
    return (True, known.row, known.ends, known.backs) if known else (False, None, (), ())


async def read(pool: asyncpg.Pool) -> Tables:
    """The tables as they are now."""
    jobs, ready, places, gates = {}, {}, {}, {}
    ends, backs = defaultdict(list), defaultdict(list)
    for row in await pool.fetch(_READ):
        key = JobKey(row["tenant_id"], row["job_id"])
        match row["place"]:
            case "job":
                jobs[key] = row["max_attempts"]
            case "ready":
                assert key not in ready, f"{key} is in ready twice"
                found = Row(*(row[name] for name in Row._fields))
                ready[key] = found._replace(crashes=tuple(row["crashes"]))
                gates[key] = Gate(row["gated"], row["held"])
                places[key] = Place(Lane(row["pipeline"], row["priority"]), row["rank"])
            case "done":
                ends[key].append(End(*(row[name] for name in End._fields)))
            case _:
                back = (row["epoch"], row["lease_epoch"], row["attempt"], row["seq"], row["reason"])
                backs[key].append(Back(*back))
    return Tables(jobs, ready, places, gates, _sorted(ends), _sorted(backs))


def _sorted(rows):
    return {key: tuple(sorted(some)) for key, some in rows.items()}


class Ledger:
    """What was promised, and whether it is kept."""

    def __init__(self) -> None:
        self.accepted: set[JobKey] = set()
        self._granted: dict[JobKey, int] = {}  # the newest lease epoch
        self._asked: set[tuple[JobKey, int]] = set()  # incarnations whose cancel was taken on
        self._ends: dict[JobKey, tuple[End, ...]] = {}

    def accept(self, key: JobKey) -> None:
        """Somebody was told that it is safe."""
        self.accepted.add(key)

    def grant(self, fence: Fence) -> None:
        """A lease is out; each has a greater lease epoch than all before it."""
        key = JobKey(fence.tenant, fence.id)
        assert fence.lease_epoch > self._granted.get(key, 0), f"{fence} after {self._granted[key]}"
        self._granted[key] = fence.lease_epoch

    def take_on_cancel(self, key: JobKey, epoch: int) -> None:
        """This incarnation will not succeed."""
        self._asked.add((key, epoch))

    def forget(self, key: JobKey) -> None:
        """It was pruned."""
        self.accepted.discard(key)
        self._granted.pop(key, None)
        self._ends.pop(key, None)
        self._asked = {(other, epoch) for other, epoch in self._asked if other != key}

    def check(self, tables: Tables) -> None:
        """All of it, for all jobs."""
        assert set(tables.jobs) == self.accepted, "lost, or out of nowhere"
        known = {*tables.ready, *tables.ends, *tables.backs}
        assert known <= self.accepted, f"rows of no job: {known - self.accepted}"
        for key in self.accepted:
            ends = tables.ends.get(key, ())
            self._check_place(key, tables.ready.get(key), ends)
            self._check_ends(key, ends)
            self._check_lease(key, tables.ready.get(key), ends)
            _check_numbers(tables.jobs[key], tables.ready.get(key), ends, tables.backs.get(key, ()))
        self._ends = dict(tables.ends)

    def _check_place(self, key: JobKey, row: Row | None, ends: tuple[End, ...]) -> None:
        """In ready, or at its end, and each incarnation once."""
        epochs = [end.epoch for end in ends] + ([row.epoch] if row else [])
        assert epochs, f"{key} was accepted and is nowhere"
        assert epochs == list(range(1, len(epochs) + 1)), f"{key} has the incarnations {epochs}"

    def _check_ends(self, key: JobKey, ends: tuple[End, ...]) -> None:
        """What is recorded stays; what was canceled did not succeed."""
        before = self._ends.get(key, ())
        assert ends[: len(before)] == before, f"{key}: an end was changed, {before} -> {ends}"
        for end in ends:
            assert end.state in FINAL_STATES
            assert end.reason in REASONS[end.state]
            if (key, end.epoch) in self._asked:
                assert end.state == "canceled", f"{key} was canceled and {end.state}"

    def _check_lease(self, key: JobKey, row: Row | None, ends: tuple[End, ...]) -> None:
        """The newest lease is the one that was granted last, and what ended last ended under it."""
        granted = self._granted.get(key, 0)
        newest = row.lease_epoch if row else ends[-1].lease_epoch
        assert newest == granted, f"{key} has lease epoch {newest}, and {granted} was granted"
        epochs = [end.lease_epoch for end in ends]
        assert epochs == sorted(epochs)
        if row:
            # Else it would wait for ever: no claim takes it, and nobody ends it.
            assert not (row.state == "queued" and row.cancel), f"{key} waits, its cancel was asked for"


def _check_numbers(most: int, row: Row | None, ends: Iterable[End], backs: Iterable[Back]) -> None:
    """Attempts stay in their bounds; every run is two events of its incarnation, in turns, without a gap."""
    now = [*ends, row] if row else [*ends]
    for one in now:
        assert 0 <= one.attempt <= most, one
        assert one.reason in REASONS[one.state], one
        runs = [back for back in backs if back.epoch == one.epoch]
        assert [back.claimed_seq for back in runs] == [2 * turn for turn in range(1, len(runs) + 1)], runs
        assert all(1 <= back.attempt <= most for back in runs), runs
        assert all(back.lease_epoch <= one.lease_epoch for back in runs), runs
        # After the first event and those of the runs come a claim, and an end of that run or of the wait.
        since = one.seq - 1 - 2 * len(runs)
        allowed = {"queued": {0}, "running": {1}}.get(one.state, {1, 2})
        assert since in allowed, f"{one.state} at {one.seq} after {len(runs)} runs"
