-- admit: lets in jobs that wait for room, as far as there is some. $1 at most so many. Answers how many.
-- What it does, and what must not change: db/migrations/0005_admit.sql. In it: ready_held, ready_admitted.
select admit($1)
