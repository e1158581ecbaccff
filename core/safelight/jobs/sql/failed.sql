-- failed: a tenant's jobs that have failed and were not reopened, the newest end first. $1 tenant_id, $2 pipeline or null,
-- $3 error code or null, $4 finished_at and $5 id of the last job of the page before, or null, $6 limit.
-- Index: job_pkey, ready_pkey, done_pkey; and done_failed, which bears another name in each partition.
select n.*
from (
  select tenant_id, job_id, epoch, finished_at from done
  where tenant_id = $1 and state = 'failed'
    and ($2::text is null or pipeline = $2)
    and ($3::text is null or error ->> 'code' = $3)
    and ($4::timestamptz is null or (finished_at, job_id) < ($4, $5::uuid))
  order by finished_at desc, job_id desc
) f
join job_now n on n.tenant_id = f.tenant_id and n.id = f.job_id
where n.state = 'failed' and n.epoch = f.epoch
order by f.finished_at desc, f.job_id desc
limit $6
