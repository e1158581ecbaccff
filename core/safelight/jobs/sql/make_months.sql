-- make: the months of `forgotten`, this one and the next. Answers how many were made.
-- What it does, and how long it waits: make_forgotten_partitions in db/migrations/0006_retention.sql.
select make_forgotten_partitions()
