-- prune: forgets jobs that ended long ago. $1 retention in seconds, $2 limit. Index: done_finished_at.
-- Answers what was forgotten, so that the bytes can follow. Keep: a job that was reopened is not forgotten.
with old as materialized (
  select d.tenant_id, d.job_id from done d
  where d.finished_at < now() - make_interval(secs => $1)
    and not exists (select from ready r where r.tenant_id = d.tenant_id and r.job_id = d.job_id)
    and not exists (select from done later where later.tenant_id = d.tenant_id and later.job_id = d.job_id and later.epoch > d.epoch)
  order by d.finished_at
  limit $2
  for update skip locked
), runs as (
  delete from attempt a using old o where a.tenant_id = o.tenant_id and a.job_id = o.job_id
), ends as (
  delete from done d using old o where d.tenant_id = o.tenant_id and d.job_id = o.job_id
)
delete from job j using old o where j.tenant_id = o.tenant_id and j.id = o.job_id
returning j.tenant_id, j.id
