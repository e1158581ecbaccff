-- prune, second part: forgets those of these jobs that are over. $1 tenant_id[], $2 id[], $3 the time before which an end is
-- old, $4 whether ends are deleted now, and not left to leave with their day. Answers the debris of each that was
-- forgotten, and a row without an id when one was left, as somebody else had it.
-- What it does, and what must not change: db/migrations/0006_retention.sql. In it: job_pkey, ready_pkey, done_pkey, attempt_pkey.
select id, tenant_id, keys from prune($1, $2, $3, $4)
