-- prune, first half: jobs that ended long ago, locked so that nobody reopens them meanwhile.
-- $1 retention in seconds, $2 limit. Index: job_pkey, ready_pkey, done_pkey; younger partitions are left out.
-- Jobs that were reopened are passed over here already, or a batch of them would hide all that are younger.
select j.tenant_id, j.id
from done d join job j on j.tenant_id = d.tenant_id and j.id = d.job_id
where d.finished_at < now() - make_interval(secs => $1)
  and not exists (select from ready r where r.tenant_id = d.tenant_id and r.job_id = d.job_id)
  and not exists (select from done n where n.tenant_id = d.tenant_id and n.job_id = d.job_id and n.epoch > d.epoch)
order by d.finished_at
limit $2
for update of j skip locked
