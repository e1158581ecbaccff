-- limit, pause: puts the jobs of a tenant behind its gate. $1 tenant_id, $2 at most so many. Index: ready_pkey.
-- Answers them; again until there are none. Keep: `not gated`, or it would not come to an end; the order, in which all lock.
with open as materialized (
  select tenant_id, job_id from ready where tenant_id = $1 and not gated order by tenant_id, job_id limit $2 for update
)
update ready r
set gated = true, held = case when r.state = 'queued' then 'room' end
from open o
where r.tenant_id = o.tenant_id and r.job_id = o.job_id
returning r.job_id
