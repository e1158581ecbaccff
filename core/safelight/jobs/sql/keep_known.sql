-- drop, second part: of a day that was taken out, ends of jobs that are known go back. $1 name, $2 the block to begin with.
-- Answers the block to go on from, or null when that was the last.
-- What it does, and what must not change: db/migrations/0006_retention.sql. In it: job_pkey.
select keep_known($1, $2)
