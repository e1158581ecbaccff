-- reopen, first half: one at a time for a job, and after a limit or a pause that is being set (lock_gate).
-- $1 tenant_id, $2 job_id. Index: job_pkey. Released with the transaction.
select id, pg_advisory_xact_lock_shared(5381924, tenant_id), pg_advisory_xact_lock_shared(5381925, hashtext(pipeline))
from job where tenant_id = $1 and id = $2 for update
