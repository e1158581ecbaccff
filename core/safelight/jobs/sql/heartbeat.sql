-- heartbeat: renews the leases of a whole processor and carries their progress, in one statement.
-- $1 tenant_id[], $2 job_id[], $3 lease_epoch[], $4 progress[], $5 progress_n[], $6 stage[], $7 status[],
-- $8 lease in seconds. Index: ready_pkey.
-- Answers the leases that still hold; one that is missing is lost. Keep: the fence; no indexed column set (HOT);
-- the order, in which all lock, or two that meet could wait for each other.
with held as materialized (
  select r.tenant_id, r.job_id, b.progress, b.progress_n, b.stage, b.status
  from ready r
  join unnest($1::integer[], $2::uuid[], $3::integer[], $4::real[], $5::integer[], $6::text[], $7::text[])
    as b (tenant_id, job_id, lease_epoch, progress, progress_n, stage, status)
    on r.tenant_id = b.tenant_id and r.job_id = b.job_id and r.lease_epoch = b.lease_epoch
  where r.state = 'running'
  order by r.tenant_id, r.job_id
  for no key update of r
)
update ready r
set lease_expires_at = now() + make_interval(secs => $8),
    progress = h.progress, progress_n = h.progress_n, stage = h.stage, status = h.status
from held h
where r.tenant_id = h.tenant_id and r.job_id = h.job_id
returning r.tenant_id, r.job_id, r.lease_epoch, r.cancel_requested_at is not null as cancel_requested
