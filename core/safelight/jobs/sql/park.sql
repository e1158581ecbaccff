-- park: a pipeline says that what it depends on is away. $1 pipeline, $2 reason. One row a pipeline.
-- A pause of 5 s, twice as long each time until 5 minutes, from the start when it was well for 10. One that is there
-- already stays, a person's above all. Answers its id, or nothing.
insert into pause (pipeline, owner, reason, seconds, expires_at)
values ($1, $1, $2, 5, now() + interval '5 seconds')
on conflict (pipeline) where pipeline is not null do update
set owner = excluded.owner, reason = excluded.reason, created_at = now(),
    seconds = case when pause.owner = $1 and pause.expires_at > now() - interval '10 minutes' then least(300, pause.seconds * 2) else 5 end,
    expires_at = now() + make_interval(secs =>
      case when pause.owner = $1 and pause.expires_at > now() - interval '10 minutes' then least(300, pause.seconds * 2) else 5 end)
where pause.expires_at <= now()
returning id
