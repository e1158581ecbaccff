-- limit: puts the jobs of a pipeline behind its gate. $1 pipeline, $2 at most so many. Index: ready_flow, ready_pkey.
-- Answers them; again until there are none. Keep: `not gated`, or it would not come to an end; the order, in which all lock.
with found as materialized (
  select tenant_id, job_id from ready where pipeline = $1 and not gated limit $2
), open as materialized (
  select r.tenant_id, r.job_id from ready r join found f on r.tenant_id = f.tenant_id and r.job_id = f.job_id
  order by r.tenant_id, r.job_id
  for update of r
)
update ready r
set gated = true, held = case when r.state = 'queued' then 'room' end
from open o
where r.tenant_id = o.tenant_id and r.job_id = o.job_id
returning r.job_id
