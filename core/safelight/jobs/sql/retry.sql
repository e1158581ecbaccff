-- retry: a run failed in a way that may pass; the job is queued again with a future run_at, or ends as canceled when its
-- cancel was accepted meanwhile.
-- $1 tenant_id, $2 job_id, $3 lease_epoch, $4 delay in seconds, $5 error, $6 whether its child crashed,
-- $7 progress. Index: ready_pkey.
-- Answers the new place in the timeline, or nothing when the lease was lost. Keep: the fence; one statement, or a job
-- could wait with a cancel that nobody carries out.
with before as (
  select * from ready
  where tenant_id = $1 and job_id = $2 and state = 'running' and lease_epoch = $3
  for update
), gone as (
  delete from ready r using before b
  where r.tenant_id = b.tenant_id and r.job_id = b.job_id and b.cancel_requested_at is not null
), finished as (
  insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at,
                    started_at, progress, stage)
  select tenant_id, job_id, pipeline, epoch, seq + 1, 'canceled', 'canceled', attempt, lease_epoch, opened_at, since,
         started_at, $7, stage
  from before where cancel_requested_at is not null
), ended as (
  insert into attempt (tenant_id, job_id, epoch, lease_epoch, attempt, claimed_seq, claimed_at, reason, progress, worker_id, error)
  select tenant_id, job_id, epoch, lease_epoch, attempt, seq, since, 'retry', $7, worker_id, $5::text::jsonb
  from before where cancel_requested_at is null
), again as (
  update ready r
  set state = 'queued', reason = 'retry', seq = r.seq + 1, since = now(), run_at = now() + make_interval(secs => $4),
      held = case when r.gated then 'room' when $4 > 0 then 'delay' end,
      progress = $7, crashes = r.crashes + $6::boolean::integer, error = $5::text::jsonb, worker_id = null,
      lease_expires_at = null
  from before b
  where r.tenant_id = b.tenant_id and r.job_id = b.job_id and b.cancel_requested_at is null
)
select tenant_id, job_id, epoch, seq + 1 as seq, attempt, $7::real as progress, gated, batch_id,
       case when cancel_requested_at is null then 'queued' else 'canceled' end as state,
       case when cancel_requested_at is null then 'retry' else 'canceled' end as reason
from before
