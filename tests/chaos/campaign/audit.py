"""At the end, over everything: what Postgres has of each job, against what its clients and workers were told.

Called by `campaign` when nothing runs any more. A *period* is the time of one fault, from the calm before
it on; a job belongs to the one in which it was acknowledged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import asyncpg

from chaos.campaign import ledger

_PREPARE = """
set statement_timeout = 0;
set transaction_timeout = 0;
set work_mem = '256MB';
create temporary table told (what text, id uuid, lease_epoch integer, at float8);
"""
_GATHER = """
create temporary table acknowledged as
  select id, min(at) as at from told where what = 'acknowledged' group by id;
create temporary table seen as
  select id, count(*) filter (where what = 'began') as runs,
         count(*) filter (where what = 'accepted') as accepted,
         max(lease_epoch) as lease_epoch
  from told where what in ('began', 'accepted') group by id;
create temporary table ended as
  select job_id as id, count(*) as ends, max(seq) as seq, max(lease_epoch) as lease_epoch,
         bool_and(state = 'succeeded') as well
  from done group by job_id;
create temporary table broken_off as
  select job_id as id, count(*) as runs, max(lease_epoch) as lease_epoch,
         bool_and(claimed_seq = 2 * place) as whole, bool_and(later) as grew
  from (
    select *, row_number() over by_seq as place,
           lease_epoch > lag(lease_epoch, 1, 0) over by_seq as later
    from attempt window by_seq as (partition by job_id order by claimed_seq)
  ) runs group by job_id;
analyze acknowledged, seen, ended, broken_off;
"""
# A job that succeeded was submitted, which is event 1; each run that did not end it is two events, and
# the last two are the run that did.
_PERIODS = """
select width_bucket(a.at, $1::float8[]) as period,
       count(*) as jobs,
       count(*) filter (where r.job_id is null and e.id is null) as lost,
       count(*) filter (where e.ends > 1 or s.accepted > 1) as twice,
       count(*) filter (where s.accepted > 0 and s.lease_epoch <> e.lease_epoch) as late,
       count(*) filter (where r.job_id is not null) as stuck,
       count(*) filter (where not e.well) as wrong,
       count(*) filter (where not coalesce(b.whole, true) or e.seq <> 2 * coalesce(b.runs, 0) + 3) as gaps,
       count(*) filter (where not coalesce(b.grew, true)
                           or e.lease_epoch <= coalesce(b.lease_epoch, 0)) as epochs,
       coalesce(sum(s.runs - 1) filter (where s.runs > 1), 0)::bigint as fenced,
       coalesce(sum(b.runs), 0)::bigint as broken_off
from acknowledged a
left join job j on j.id = a.id
left join ready r on r.job_id = a.id
left join ended e on e.id = a.id
left join broken_off b on b.id = a.id
left join seen s on s.id = a.id
group by 1
"""
# Whoever gave up does not know whether the job was committed: it is whole, or it is not there at all.
_HALF = """
select (select count(*) from job j where not exists (select from ended e where e.id = j.id)
                                     and not exists (select from ready r where r.job_id = j.id))
     + (select count(*) from ended e where not exists (select from job j where j.id = e.id))
     + (select count(*) from ready r where not exists (select from job j where j.id = r.job_id))
     + (select count(*) from broken_off b where not exists (select from job j where j.id = b.id))
     + (select count(*) from ended e where e.ends > 1
                                       and not exists (select from acknowledged a where a.id = e.id))
"""
_STRANGERS = """
select count(*) from job j
where not exists (select from told t where t.id = j.id and t.what in ('acknowledged', 'abandoned'))
"""


@dataclass
class Findings:
    """Numbers of jobs, of one period or of all."""

    jobs: int = 0  # acknowledged
    lost: int = 0  # of which there is nothing that ended and nothing that waits
    twice: int = 0  # more than one end, or more than one end that a worker was told to count
    late: int = 0  # a run was told that its end counts, and another had the lease
    stuck: int = 0  # neither ended nor lost, when there was nothing left to wait for
    wrong: int = 0  # ended, and not well
    gaps: int = 0  # an event is missing
    epochs: int = 0  # a lease epoch that did not grow
    fenced: int = 0  # runs beside the one that counts: begun, and refused or never ended
    broken_off: int = 0  # runs that ended in rescue or release

    def __iadd__(self, other: "Findings") -> Self:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self

    @property
    def faultless(self) -> bool:
        """Nothing happened to a job that must not."""
        return not (
            self.lost or self.twice or self.late or self.stuck or self.wrong or self.gaps or self.epochs
        )


@dataclass
class Audit:
    """Of every period, by its place; and what belongs to none."""

    periods: list[Findings]
    half: int = 0  # jobs of which there is only a part
    strangers: int = 0  # jobs that nobody has submitted
    total: Findings = field(default_factory=Findings)


async def audit(database: str, folder: Path, began: Sequence[float]) -> Audit:
    """Looks at everything. `began` are the beginnings of the periods, in seconds since 1970, in order."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(_PREPARE)
        await connection.copy_records_to_table("told", records=ledger.read(folder))
        await connection.execute(_GATHER)
        found = Audit([Findings() for _ in began])
        for row in await connection.fetch(_PERIODS, list(began)):
            numbers = dict(row)
            # What was acknowledged before the first fault was announced counts for it.
            found.periods[max(0, numbers.pop("period") - 1)] += Findings(**numbers)
        found.half = await connection.fetchval(_HALF)
        found.strangers = await connection.fetchval(_STRANGERS)
    finally:
        await connection.close()
    for period in found.periods:
        found.total += period
    return found
