-- heartbeat: renews the leases of a whole processor and carries their progress, in one statement.
-- $1 tenant_id[], $2 job_id[], $3 lease_epoch[], $4 progress[], $5 progress_n[], $6 stage[], $7 status[],
-- $8 lease in seconds. Index: ready_pkey.
-- Answers the leases that still hold; one that is missing is lost. Keep: the fence, and no indexed column set (HOT).
update ready r
set lease_expires_at = now() + make_interval(secs => $8),
    progress = b.progress, progress_n = b.progress_n, stage = b.stage, status = b.status
from unnest($1::integer[], $2::uuid[], $3::integer[], $4::real[], $5::integer[], $6::text[], $7::text[])
  as b (tenant_id, job_id, lease_epoch, progress, progress_n, stage, status)
where r.tenant_id = b.tenant_id and r.job_id = b.job_id and r.state = 'running' and r.lease_epoch = b.lease_epoch
returning r.tenant_id, r.job_id, r.lease_epoch, r.cancel_requested_at is not null as cancel_requested
