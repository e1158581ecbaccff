-- get: one job, whole. $1 tenant_id, $2 job_id. Index: job_pkey, ready_pkey, done_pkey.
select * from job_now where tenant_id = $1 and id = $2
