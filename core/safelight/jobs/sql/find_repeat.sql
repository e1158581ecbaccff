-- enqueue, second half: the job that a repeated idempotency key or id belongs to; the key decides.
-- $1 tenant_id, $2 id, $3 idempotency_key or null. Index: job_idempotency_key, job_pkey.
-- Keep: two reads; joined by `or` they would be one scan of all the tenant's jobs.
(select id, fingerprint, id = $2 as same_id from job where tenant_id = $1 and idempotency_key = $3)
union all
(select id, fingerprint, true from job where tenant_id = $1 and id = $2)
limit 1
