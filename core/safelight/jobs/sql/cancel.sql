-- cancel: ends a job that waits, asks the run of one that runs to stop.
-- $1 tenant_id, $2 job_id. Index: ready_pkey.
-- Answers (state, epoch, seq, ...): `canceled` at once, or `running` when the run was asked. Nothing: the job is not
-- in ready, or it changed hands in this very moment (ask again).
with gone as (
  delete from ready where tenant_id = $1 and job_id = $2 and state = 'queued'
  returning *
), finished as (
  insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, started_at, progress, stage)
  select tenant_id, job_id, pipeline, epoch, seq + 1, 'canceled', 'canceled', attempt, lease_epoch, opened_at, started_at, progress, stage from gone
), asked as (
  update ready set cancel_requested_at = coalesce(cancel_requested_at, now())
  where tenant_id = $1 and job_id = $2 and state = 'running'
  returning *
)
select 'canceled' as state, epoch, seq + 1 as seq, attempt, progress, worker_id, gated, batch_id from gone
union all
select 'running', epoch, seq, attempt, progress, worker_id, gated, batch_id from asked
