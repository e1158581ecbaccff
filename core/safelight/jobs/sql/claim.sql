-- claim: takes jobs for free slots and grants each a lease and a new lease epoch.
-- $1 pipelines[], $2 slots, $3 worker_id, $4 lease in seconds. Index: ready_place.
-- Keep: `materialized` (else the planner may run the pick again for each row and exceed the limit), and the
-- second look at the state (the row may have changed between the pick and the update).
with picked as materialized (
  select tenant_id, job_id from ready
  where state = 'queued' and run_at <= now() and cancel_requested_at is null and pipeline = any ($1::text[])
  order by place
  limit $2
  for update skip locked
), claimed as (
  update ready r
  set state = 'running', reason = 'claimed', seq = r.seq + 1, attempt = r.attempt + 1, lease_epoch = r.lease_epoch + 1,
      since = now(), started_at = coalesce(r.started_at, now()), worker_id = $3,
      lease_expires_at = now() + make_interval(secs => $4),
      progress = 0, progress_n = 0, stage = null, status = null
  from picked p
  where r.tenant_id = p.tenant_id and r.job_id = p.job_id and r.state = 'queued'
  returning r.tenant_id, r.job_id, r.place, r.epoch, r.seq, r.attempt, r.max_attempts, r.crashes, r.lease_epoch,
            r.pipeline, extract(epoch from now() - r.run_at)::float8 as waited
)
select c.*, j.params, j.inputs, j.traceparent
from claimed c join job j on j.tenant_id = c.tenant_id and j.id = c.job_id
order by c.place
