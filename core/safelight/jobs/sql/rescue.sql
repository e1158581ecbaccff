-- rescue: takes back runs whose lease has expired; ends those that have no attempt left.
-- $1 limit, $2 the error of a job that is out of attempts. Index: none, it reads ready, which is small.
-- Everybody may run it at any time: skip locked, and the expiry is looked at again under the lock.
with lost as materialized (
  select * from ready
  where state = 'running' and lease_expires_at < now()
  order by lease_expires_at
  limit $1
  for update skip locked
), again as (
  update ready r
  set state = 'queued', reason = 'rescued', seq = r.seq + 1, since = now(), run_at = now(),
      held = case when r.gated then 'room' end, worker_id = null, lease_expires_at = null
  from lost l
  where r.tenant_id = l.tenant_id and r.job_id = l.job_id and l.attempt < l.max_attempts and l.cancel_requested_at is null
  returning r.tenant_id, r.job_id
), ended as (
  insert into attempt (tenant_id, job_id, epoch, lease_epoch, attempt, claimed_seq, claimed_at, reason, progress, worker_id)
  select tenant_id, job_id, epoch, lease_epoch, attempt, seq, since, 'rescued', progress, worker_id
  from lost join again using (tenant_id, job_id)
), gone as (
  delete from ready r using lost l
  where r.tenant_id = l.tenant_id and r.job_id = l.job_id and (l.attempt >= l.max_attempts or l.cancel_requested_at is not null)
  returning r.tenant_id, r.job_id
), finished as (
  insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at, started_at,
                    progress, stage, error)
  select l.tenant_id, l.job_id, l.pipeline, l.epoch, l.seq + 1,
         case when l.cancel_requested_at is null then 'failed' else 'canceled' end,
         case when l.cancel_requested_at is null then 'exhausted' else 'canceled' end,
         l.attempt, l.lease_epoch, l.opened_at, l.since, l.started_at, l.progress, l.stage,
         case when l.cancel_requested_at is null then $2::text::jsonb end
  from lost l join gone using (tenant_id, job_id)
)
select l.tenant_id, l.job_id, j.traceparent, l.epoch, l.seq + 1 as seq, l.attempt, l.progress, l.worker_id, l.gated, l.batch_id,
       case when a.job_id is not null then 'queued' when l.cancel_requested_at is null then 'failed' else 'canceled' end as state,
       case when a.job_id is not null then 'rescued' when l.cancel_requested_at is null then 'exhausted' else 'canceled' end as reason
from lost l
join job j on j.tenant_id = l.tenant_id and j.id = l.job_id
left join again a on a.tenant_id = l.tenant_id and a.job_id = l.job_id
