-- release: a run is handed back on purpose; the job is queued again and its attempt is given back, or it ends as canceled
-- when its cancel was accepted meanwhile.
-- $1 tenant_id[], $2 job_id[], $3 lease_epoch[], $4 progress[], $5 delay in seconds[]. Index: ready_pkey.
-- Answers the new places in the timeline; a run that is missing had lost its lease. Keep: the fence; lease_epoch stays; the order, in which all lock;
-- one statement, or a job could wait with a cancel that nobody carries out.
with before as (
  select r.*, t.reached, t.delay from ready r
  join unnest($1::integer[], $2::uuid[], $3::integer[], $4::real[], $5::float8[])
    as t (tenant_id, job_id, lease_epoch, reached, delay)
    on r.tenant_id = t.tenant_id and r.job_id = t.job_id and r.lease_epoch = t.lease_epoch
  where r.state = 'running'
  order by r.tenant_id, r.job_id
  for update of r
), gone as (
  delete from ready r using before b
  where r.tenant_id = b.tenant_id and r.job_id = b.job_id and b.cancel_requested_at is not null
), finished as (
  insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at,
                    started_at, progress, stage)
  select tenant_id, job_id, pipeline, epoch, seq + 1, 'canceled', 'canceled', attempt, lease_epoch, opened_at, since,
         started_at, reached, stage
  from before where cancel_requested_at is not null
), ended as (
  insert into attempt (tenant_id, job_id, epoch, lease_epoch, attempt, claimed_seq, claimed_at, reason, progress, worker_id)
  select tenant_id, job_id, epoch, lease_epoch, attempt, seq, since, 'released', reached, worker_id
  from before where cancel_requested_at is null
), again as (
  update ready r
  set state = 'queued', reason = 'released', seq = r.seq + 1, attempt = r.attempt - 1, since = now(),
      run_at = now() + make_interval(secs => b.delay),
      held = case when r.gated then 'room' when b.delay > 0 then 'delay' end,
      progress = b.reached, worker_id = null, lease_expires_at = null
  from before b
  where r.tenant_id = b.tenant_id and r.job_id = b.job_id and b.cancel_requested_at is null
)
select tenant_id, job_id, epoch, seq + 1 as seq, attempt - (cancel_requested_at is null)::integer as attempt,
       reached as progress, gated, batch_id,
       case when cancel_requested_at is null then 'queued' else 'canceled' end as state,
       case when cancel_requested_at is null then 'released' else 'canceled' end as reason
from before
