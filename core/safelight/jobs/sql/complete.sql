-- complete, fail, cancel of a run: records how runs ended, each fenced on its own; outputs become visible here.
-- $1 tenant_id[], $2 job_id[], $3 lease_epoch[], $4 state[], $5 reason[], $6 progress[], $7 stage[],
-- $8 result[], $9 outputs[], $10 error[]. Index: ready_pkey.
-- Answers what was recorded; a run that is missing had lost its lease. Keep: a job whose cancel was accepted never
-- succeeds; deleting from ready and inserting into done stay one statement.
with ended as (
  select * from unnest($1::integer[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::real[], $7::text[],
                       $8::text[], $9::text[], $10::text[])
    as t (tenant_id, job_id, lease_epoch, state, reason, progress, stage, result, outputs, error)
), gone as (
  delete from ready r using ended e
  where r.tenant_id = e.tenant_id and r.job_id = e.job_id and r.state = 'running' and r.lease_epoch = e.lease_epoch
  returning r.tenant_id, r.job_id, r.epoch, r.seq, r.attempt, r.lease_epoch, r.since, r.opened_at, r.started_at,
            r.cancel_requested_at is not null as canceled
)
insert into done (tenant_id, job_id, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at, started_at,
                  progress, stage, result, outputs, error)
select g.tenant_id, g.job_id, g.epoch, g.seq + 1,
       case when g.canceled then 'canceled' else e.state end,
       case when g.canceled then 'canceled' else e.reason end,
       g.attempt, g.lease_epoch, g.opened_at, g.since, g.started_at, e.progress, e.stage,
       case when not g.canceled then e.result::jsonb end,
       case when g.canceled then '[]' else e.outputs::jsonb end,
       case when not g.canceled then e.error::jsonb end
from gone g join ended e on e.tenant_id = g.tenant_id and e.job_id = g.job_id and e.lease_epoch = g.lease_epoch
returning tenant_id, job_id, epoch, seq, lease_epoch, attempt, state, reason,
          extract(epoch from finished_at - claimed_at)::float8 as ran
