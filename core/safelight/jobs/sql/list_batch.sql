-- list: the jobs of a batch, in the order in which they came. $1 tenant_id, $2 batch_id, $3 limit.
-- Index: job_batch, ready_pkey, done_pkey.
select * from job_now where tenant_id = $1 and batch_id = $2 order by created_at, id limit $3
