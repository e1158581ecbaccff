-- prune, second half: forgets those of the locked jobs that are over. $1 tenant_id[], $2 id[], $3 retention in seconds.
-- Index: ready_pkey, done_pkey, attempt_pkey, job_pkey. Answers what was forgotten, so that the bytes can follow.
-- Keep: a statement of its own, after the lock, so that it sees what was reopened just before it.
with old as materialized (
  select t.tenant_id, t.job_id
  from unnest($1::integer[], $2::uuid[]) as t (tenant_id, job_id)
  where not exists (select from ready r where r.tenant_id = t.tenant_id and r.job_id = t.job_id)
    and not exists (select from done d where d.tenant_id = t.tenant_id and d.job_id = t.job_id
                    and d.finished_at >= now() - make_interval(secs => $3))
), runs as (
  delete from attempt a using old o where a.tenant_id = o.tenant_id and a.job_id = o.job_id
), ends as (
  delete from done d using old o where d.tenant_id = o.tenant_id and d.job_id = o.job_id
)
delete from job j using old o where j.tenant_id = o.tenant_id and j.id = o.job_id
returning j.tenant_id, j.id
