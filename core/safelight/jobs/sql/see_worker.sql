-- see: a processor says that it lives, and how long its runs take. $1 id, $2 slots, $3 pipelines[], $4 paces, $5 the seconds
-- after which one that is silent is forgotten. Index: worker_pkey.
-- Keep: skip locked. After a long outage all come back at once, and each finds all others silent.
with gone as (
  delete from worker where id in (
    select id from worker where seen_at < now() - make_interval(secs => $5) and id <> $1 for update skip locked
  )
)
insert into worker (id, slots, pipelines, paces) values ($1, $2, $3, $4::text::jsonb)
on conflict (id) do update
set slots = excluded.slots, pipelines = excluded.pipelines, paces = excluded.paces, seen_at = now()
