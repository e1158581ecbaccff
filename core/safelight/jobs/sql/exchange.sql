-- complete and claim, fused: records how runs ended and takes jobs for the slots that are free then, in one commit.
-- $1 tenant_id[], $2 job_id[], $3 lease_epoch[], $4 state[], $5 reason[], $6 progress[], $7 stage[], $8 result[],
-- $9 outputs[], $10 error[] of the runs that ended; then lanes in the order in which they are served:
-- $11 pipeline[], $12 priority[], $13 the rank from which each is read[]; $14 slots, $15 worker_id, $16 lease in seconds.
-- What it does, and what must not change: db/migrations/0004_exchange.sql. In it: ready_pkey, ready_rank, ready_due, job_pkey. A change to a
-- gated row makes room for others: admit.
select * from exchange($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
