-- end: of these batches those that have, or had, all their jobs, of which none is left to run. $1 tenant_id[], $2 id[].
-- Index: batch_pkey, job_batch, ready_batch. Answers them, each once: who sets ended_at tells of it.
-- Keep: a statement after the commit that ended a job, so that of two that end the last two jobs at once the later sees both;
-- the order, in which all lock.
with over as materialized (
  select b.tenant_id, b.id
  from batch b join unnest($1::integer[], $2::uuid[]) as t (tenant_id, id) on b.tenant_id = t.tenant_id and b.id = t.id
  where b.ended_at is null
    and not exists (select from ready r where r.tenant_id = b.tenant_id and r.batch_id = b.id)
    and (select count(*) from job j where j.tenant_id = b.tenant_id and j.batch_id = b.id) + b.forgotten >= b.size
  order by b.tenant_id, b.id
  for no key update of b
)
update batch b set ended_at = now()
from over o
where b.tenant_id = o.tenant_id and b.id = o.id
returning b.tenant_id, b.id, b.round
