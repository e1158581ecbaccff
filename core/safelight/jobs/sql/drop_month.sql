-- drop: the oldest month of `forgotten`. $1 for how many days ids are remembered at least. Answers its name, or null.
-- What it does, and how long it waits: db/migrations/0006_retention.sql.
select drop_month(now() - make_interval(secs => $1))
