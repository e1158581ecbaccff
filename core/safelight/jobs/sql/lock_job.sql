-- reopen, first half: one at a time for a job. $1 tenant_id, $2 job_id. Index: job_pkey. Released with the transaction.
select id from job where tenant_id = $1 and id = $2 for update
