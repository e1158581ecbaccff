-- pause: nothing more of a pipeline begins. $1 pipeline, $2 owner, $3 reason, $4 seconds or null. Index: pause_pipeline.
-- A pause that is there already is replaced.
insert into pause (pipeline, owner, reason, seconds, expires_at)
values ($1, $2, $3, $4, now() + make_interval(secs => $4))
on conflict (pipeline) where pipeline is not null do update
set owner = excluded.owner, reason = excluded.reason, seconds = excluded.seconds, expires_at = excluded.expires_at, created_at = now()
returning id
