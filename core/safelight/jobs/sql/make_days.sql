-- make: the days of `done`. $1 how many days ahead. Answers how many were made.
-- What it does, and how long it waits: make_done_partitions in db/migrations/0001_jobs.sql.
select make_done_partitions($1)
