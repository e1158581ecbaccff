-- claim, the second half of `exchange`, alone: takes jobs for the slots that are free.
-- Lanes in the order in which they are served: $1 pipeline[], $2 priority[], $3 the rank from which each is read[];
-- $4 slots, $5 worker_id, $6 lease in seconds.
-- What it does, and what must not change: db/migrations/0004_exchange.sql. In it: ready_rank, ready_due, job_pkey.
select * from exchange('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', $1, $2, $3, $4, $5, $6)
