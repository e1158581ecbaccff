-- retry: a run failed in a way that may pass; the job is queued again with a future run_at, or ends: as canceled when its
-- cancel was accepted meanwhile, as failed when no attempt is left.
-- $1 tenant_id, $2 job_id, $3 lease_epoch, $4 delay in seconds, $5 error, $6 what its child died of, or null when it
-- did not, $7 progress. Index: ready_pkey.
-- Answers the new place in the timeline, or nothing when the lease was lost. Keep: the fence; one statement, or a job
-- could wait with a cancel that nobody carries out; and the look at the attempts, or a claim would fail on the job, and
-- with it on all others, for ever.
with before as (
  select *,
         case when cancel_requested_at is not null then 'canceled' when attempt >= max_attempts then 'failed' else 'queued' end as becomes,
         case when cancel_requested_at is not null then 'canceled' when attempt >= max_attempts then 'exhausted' else 'retry' end as why
  from ready
  where tenant_id = $1 and job_id = $2 and state = 'running' and lease_epoch = $3
  for update
), gone as (
  delete from ready r using before b
  where r.tenant_id = b.tenant_id and r.job_id = b.job_id and b.becomes <> 'queued'
), finished as (
  insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at,
                    started_at, progress, stage, error)
  select tenant_id, job_id, pipeline, epoch, seq + 1, becomes, why, attempt, lease_epoch, opened_at, since,
         started_at, $7, stage, case when becomes = 'failed' then $5::text::jsonb end
  from before where becomes <> 'queued'
), ended as (
  insert into attempt (tenant_id, job_id, epoch, lease_epoch, attempt, claimed_seq, claimed_at, reason, progress, worker_id, error)
  select tenant_id, job_id, epoch, lease_epoch, attempt, seq, since, 'retry', $7, worker_id, $5::text::jsonb
  from before where becomes = 'queued'
), again as (
  update ready r
  set state = 'queued', reason = 'retry', seq = r.seq + 1, since = now(), run_at = now() + make_interval(secs => $4),
      held = case when r.gated then 'room' when $4 > 0 then 'delay' end,
      progress = $7, crashes = case when $6::text is null then r.crashes else array_append(r.crashes, $6) end, error = $5::text::jsonb, worker_id = null,
      lease_expires_at = null
  from before b
  where r.tenant_id = b.tenant_id and r.job_id = b.job_id and b.becomes = 'queued'
)
select tenant_id, job_id, epoch, seq + 1 as seq, attempt, $7::real as progress, gated, batch_id, becomes as state, why as reason
from before
