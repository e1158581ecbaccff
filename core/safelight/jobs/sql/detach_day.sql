-- drop, first part: takes the oldest day out of `done`. $1 the time that all its ends lie before. Answers its name, or null.
-- What it does, and how long it waits: db/migrations/0006_retention.sql.
select detach_day($1)
