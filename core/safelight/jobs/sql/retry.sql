-- retry: a run failed in a way that may pass; the job is queued again with a future run_at.
-- $1 tenant_id, $2 job_id, $3 lease_epoch, $4 delay in seconds, $5 error, $6 whether its child crashed,
-- $7 progress. Index: ready_pkey.
-- Answers the new place in the timeline, or nothing when the lease was lost. Keep: the fence.
with before as (
  select * from ready
  where tenant_id = $1 and job_id = $2 and state = 'running' and lease_epoch = $3
  for update
), ended as (
  insert into attempt (tenant_id, job_id, epoch, lease_epoch, attempt, claimed_seq, claimed_at, reason, progress, worker_id, error)
  select tenant_id, job_id, epoch, lease_epoch, attempt, seq, since, 'retry', $7, worker_id, $5::text::jsonb from before
)
update ready r
set state = 'queued', reason = 'retry', seq = r.seq + 1, since = now(), run_at = now() + make_interval(secs => $4),
    delayed = $4 > 0,
    progress = $7, crashes = r.crashes + $6::boolean::integer, error = $5::text::jsonb, worker_id = null, lease_expires_at = null
from before b
where r.tenant_id = b.tenant_id and r.job_id = b.job_id
returning r.epoch, r.seq, r.attempt, r.progress, r.cancel_requested_at is not null as cancel_requested
