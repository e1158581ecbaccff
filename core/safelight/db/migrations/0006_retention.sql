-- Retention. A job whose newest end is older than SAFELIGHT_RETENTION_DAYS is forgotten: jobs/retention.py, `prune`.
--   forgotten  what is remembered of it: that there was such a job, so that its id is `410` and is not taken again
--   debris     its bytes, as long as they are there: written by the commit that forgets it, deleted after them
--   sweep      how far the search for bytes that nobody refers to has come: jobs/orphans.py
-- Its rows in `done` stay where they are; they leave with their day, by DROP, which costs nothing.

create table forgotten (
  forgotten_at timestamptz not null default now(),
  tenant_id integer not null,
  id uuid not null,
  reason text not null,                   -- why: `retention`, its time was over
  primary key (tenant_id, id, forgotten_at),
  constraint forgotten_reason check (reason in ('retention'))
) partition by range (forgotten_at);

create table debris (
  id bigint primary key generated always as identity,
  tenant_id integer not null,
  keys text[] not null,                   -- keys of its inputs, and what all its outputs lie under
  since timestamptz not null default now()
);

create table sweep (
  tenant_id integer not null,             -- the last key that was looked at
  key text collate "C" not null,
  taken_at timestamptz not null           -- when somebody last took a turn
);
create unique index sweep_is_one_row on sweep ((true));
insert into sweep values (0, '', 'epoch');

-- In what order ends are forgotten.
create index done_finished on done (finished_at);

create index batch_ended on batch (ended_at) where ended_at is not null;

-- The days of `done`: those that were taken out of it, and are not dropped yet, too.
create view done_day as
select relname::text as name, to_date(right(relname, 8), 'YYYYMMDD') as day, relispartition as attached
from pg_class
where relkind = 'r' and relname ~ '^done_\d{8}$'
  and relnamespace = (select relnamespace from pg_class where oid = 'done'::regclass);

-- Makes the partitions of `forgotten`, one a month (UTC), for this month and the next; answers how many it made.
create function make_forgotten_partitions() returns integer language plpgsql
set lock_timeout = '100ms'
as $$
declare
  first timestamp;
  name text;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(5381922);
  for ahead in 0 .. 1 loop
    first := date_trunc('month', now() at time zone 'UTC') + make_interval(months => ahead);
    name := 'forgotten_' || to_char(first, 'YYYYMM');
    if to_regclass(name) is null then
      execute format('create table %I (like forgotten including defaults including constraints)', name);
      execute format('alter table forgotten attach partition %I for values from (%L) to (%L)',
                     name, first || '+00', first + interval '1 month' || '+00');
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;
select make_forgotten_partitions();

-- prune(...): forgets those of the jobs that are over, for jobs/sql/prune.sql; each that nobody else has at that moment.
-- by_row: whether ends are deleted here; else they leave with their day. Those of no day are deleted in any case.
-- Answers what is left of each, its debris; and a row without an id when a job was left, as somebody else had it.
-- Keep: the lock, and a statement of its own after it, so that it sees what was reopened just before.
-- Keep: one commit for all of it, their batches too: one that waits for its other jobs would never end. Bytes are touched after it only, by the keys that it wrote down, when nobody can have
-- the job again.
create function prune(tenants integer[], ids uuid[], before timestamptz, by_row boolean)
returns table (id bigint, tenant_id integer, keys text[])
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  spots tid[];
begin
  spots := array(
    select j.ctid
    from unnest(tenants, ids) as t (tenant_id, id) join job j on j.tenant_id = t.tenant_id and j.id = t.id
    for update of j skip locked
  );
  return query
  with old as materialized (
    select j.tenant_id, j.id, j.batch_id, j.inputs
    from unnest(spots) as s (spot) join job j on j.ctid = s.spot
    where not exists (select from ready r where r.tenant_id = j.tenant_id and r.job_id = j.id)
      and not exists (select from done d where d.tenant_id = j.tenant_id and d.job_id = j.id and d.finished_at >= before)
  ), runs as (
    delete from attempt a using old o where a.tenant_id = o.tenant_id and a.job_id = o.id
  ), ends as (
    delete from done d using old o where by_row and d.tenant_id = o.tenant_id and d.job_id = o.id
  ), ends_of_no_day as (
    delete from done_unplaced d using old o where not by_row and d.tenant_id = o.tenant_id and d.job_id = o.id
  ), remembered as (
    insert into forgotten (tenant_id, id, reason) select tenant_id, id, 'retention' from old
  ), counted as (
    update batch b set forgotten = b.forgotten + o.jobs
    from (
      select tenant_id, batch_id, count(*) as jobs from old where batch_id is not null
      group by tenant_id, batch_id
      order by tenant_id, batch_id
    ) o
    where b.tenant_id = o.tenant_id and b.id = o.batch_id
  ), gone as (
    delete from job j using old o where j.tenant_id = o.tenant_id and j.id = o.id
  )
  insert into debris (tenant_id, keys)
  select tenant_id,
         array(select i ->> 'key' from jsonb_array_elements(inputs) i where starts_with(i ->> 'key', id || '/')) || (id || '/out')
  from old
  returning id, tenant_id, keys;
  if cardinality(spots) < cardinality(ids) then
    return next;
  end if;
end $$;

-- Taking a partition out needs the table for itself, if only for a moment. Who waits for that has everybody queue
-- behind it, claims and ends too; hence the short lock_timeout of all that does, and another try some minutes later.
-- It is the function's own, so it is gone with it: nothing of a session is touched, and PgBouncer does not mind.

-- detach_day(before): takes the oldest day out of `done` of which every end lies before that time; answers its name,
-- or null when there is none. Not CONCURRENTLY: Postgres does not offer that beside a default partition.
create function detach_day(before timestamptz) returns text language plpgsql
set lock_timeout = '100ms'
as $$
declare
  oldest text;
begin
  perform pg_advisory_xact_lock(5381922);
  select name into oldest from done_day
  where attached and day < (before at time zone 'UTC')::date
  order by day
  limit 1;
  if oldest is not null then
    execute format('alter table done detach partition %I', oldest);
  end if;
  return oldest;
end $$;

-- keep_known(of_day, first): of a day that was taken out, some blocks from `first` on: ends of jobs that are known go back
-- into `done`, where they have no partition of their own now, and so lie in done_unplaced. They are incarnations that
-- were followed by another one. Answers the block to go on from, or null when there are no more.
-- Keep: the lock on the job. Who forgets it at the same time does so before, or sees what was put back.
create function keep_known(of_day text, first bigint) returns bigint language plpgsql
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  next bigint := first + 200;
begin
  execute format($sql$
    with known as materialized (
      select d.ctid as spot
      from %1$I d join job j on j.tenant_id = d.tenant_id and j.id = d.job_id
      where d.ctid >= $1 and d.ctid < $2
      for key share of j
    ), back as (
      delete from %1$I d using known k where d.ctid = k.spot
      returning d.*
    )
    insert into done select * from back
  $sql$, of_day) using format('(%s,0)', first)::tid, format('(%s,0)', next)::tid;
  return case when next * current_setting('block_size')::bigint < pg_relation_size(of_day::regclass) then next end;
end $$;

-- drop_day(of_day): drops a day that was taken out of `done`, and none that is still in it. Answers whether it did.
create function drop_day(of_day text) returns boolean language plpgsql
set lock_timeout = '100ms'
as $$
begin
  if not exists (select from done_day where name = of_day and not attached) then
    return false;
  end if;
  execute format('drop table %I', of_day);
  return true;
end $$;

-- drop_month(before): drops the oldest month of `forgotten` that lies before that time; answers its name, or null.
create function drop_month(before timestamptz) returns text language plpgsql
set lock_timeout = '100ms'
as $$
declare
  oldest text;
begin
  perform pg_advisory_xact_lock(5381922);
  select relname into oldest
  from pg_class join pg_inherits on inhrelid = oid
  where inhparent = 'forgotten'::regclass
    and to_date(right(relname, 6), 'YYYYMM') + interval '1 month' <= before at time zone 'UTC'
  order by relname
  limit 1;
  if oldest is not null then
    execute format('drop table %I', oldest);
  end if;
  return oldest;
end $$;

-- bury(tenant, id): undoes that a job was accepted whose id is that of one that is forgotten; answers whether it was.
-- For jobs/sql/enqueue.sql, in the same statement.
-- Keep: it looks after the insert. The insert of an id waits for who is just forgetting it, with what it saw before
-- that; a statement that comes later sees what was remembered.
create function bury(of_tenant integer, of_id uuid) returns boolean language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
  if not exists (select from forgotten where tenant_id = of_tenant and id = of_id) then
    return false;
  end if;
  delete from ready where tenant_id = of_tenant and job_id = of_id;
  delete from job where tenant_id = of_tenant and id = of_id;
  return true;
end $$;
