-- list: a tenant's jobs, newest first. $1 tenant_id, $2 state or null, $3 pipeline or null, $4 created_at and $5 id of
-- the last job of the page before, or null, $6 limit. Index: job_newest, ready_pkey, done_pkey.
select * from job_now
where tenant_id + 0 = $1
  and ($2::text is null or state = $2)
  and ($3::text is null or pipeline = $3)
  and ($4::timestamptz is null or (created_at, id) < ($4, $5::uuid))
order by created_at desc, id desc
limit $6
