-- position: how many jobs of its pipeline are before one that waits. $1 tenant_id, $2 job_id, $3 at most so many.
-- Index: ready_pkey, ready_rank. Nothing, when it does not wait or waits for something else than its turn: for room, or the end of a pause.
-- Keep: two counts; joined by `or` they would read every lane.
with mine as materialized (
  select pipeline, priority, rank, state, held from ready where tenant_id = $1 and job_id = $2
)
select least($3, (
         select count(*) from (
           select from ready r
           where r.pipeline = m.pipeline and r.priority > m.priority and r.held is null and r.state = 'queued'
           limit $3
         ) higher
       ) + (
         select count(*) from (
           select from ready r
           where r.pipeline = m.pipeline and r.priority = m.priority and r.rank < m.rank and r.held is null and r.state = 'queued'
           limit $3
         ) earlier
       )) as position
from mine m
where m.state = 'queued' and m.held is null
  and not exists (select from pause p where p.pipeline = m.pipeline and (p.expires_at is null or p.expires_at > now()))
