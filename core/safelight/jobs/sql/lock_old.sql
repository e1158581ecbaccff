-- prune, first half: jobs that ended long ago, locked so that nobody reopens them meanwhile.
-- $1 retention in seconds, $2 limit. Index: done_finished_at, job_pkey.
select j.tenant_id, j.id
from done d join job j on j.tenant_id = d.tenant_id and j.id = d.job_id
where d.finished_at < now() - make_interval(secs => $1)
order by d.finished_at
limit $2
for update of j skip locked
