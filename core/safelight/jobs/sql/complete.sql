-- complete, the first half of `exchange`, alone: records how runs ended.
-- $1 tenant_id[], $2 job_id[], $3 lease_epoch[], $4 state[], $5 reason[], $6 progress[], $7 stage[], $8 result[],
-- $9 outputs[], $10 error[] of the runs that ended.
-- What it does, and what must not change: db/migrations/0004_exchange.sql. In it: ready_pkey. A change to a gated row
-- makes room for others: admit.
select * from exchange($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '{}', '{}', '{}', 0, null, 0)
