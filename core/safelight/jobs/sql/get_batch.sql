-- get: a batch, its jobs counted, and how far they are, weighted; what is forgotten of it has ended. $1 tenant_id, $2 id.
-- Index: batch_pkey, job_batch, ready_pkey, done_pkey.
select b.tenant_id, b.id, b.size, b.created_at, b.ended_at, b.round,
       count(j.id) filter (where state = 'queued') as queued,
       count(j.id) filter (where state = 'running') as running,
       count(j.id) filter (where state = 'succeeded') as succeeded,
       count(j.id) filter (where state = 'failed') as failed,
       count(j.id) filter (where state = 'canceled') as canceled,
       (coalesce(sum(weight * case when j.finished_at is null then j.progress else 100 end) / sum(weight), 0)::float8
          * least(count(j.id), b.size - b.forgotten) + 100 * b.forgotten) / b.size as progress
from batch b left join job_now j on j.tenant_id = b.tenant_id and j.batch_id = b.id
where b.tenant_id = $1 and b.id = $2
group by b.tenant_id, b.id
