-- pause: takes room back from jobs of a tenant that were let in and have not begun: its pipelines have others that can use
-- it. $1 tenant_id, $2 at most so many. Index: ready_admitted, ready_pkey.
-- Answers them; again until there are none. Keep: after the pause is there, or admit lets them in again; the order, in which all lock.
with found as materialized (
  select tenant_id, job_id from ready where tenant_id = $1 and gated and held is null and state = 'queued' limit $2
), idle as materialized (
  select r.tenant_id, r.job_id from ready r join found f on r.tenant_id = f.tenant_id and r.job_id = f.job_id
  where r.held is null and r.state = 'queued'
  order by r.tenant_id, r.job_id
  for update of r
)
update ready r
set held = 'room'
from idle i
where r.tenant_id = i.tenant_id and r.job_id = i.job_id
returning r.job_id
