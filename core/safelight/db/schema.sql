-- Generated from the migrations by `make generate`. Read it, never edit it.

CREATE FUNCTION public.admit(most integer) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
  admitted integer := 0;
  before integer;
  room jsonb := '{}';   -- what is left, of tenants ('t5') and of pipelines ('pscan')
  flow record;
  spot tid;
begin
  if not pg_try_advisory_xact_lock(5381923) then
    return 0;
  end if;
  loop
    before := admitted;
    for flow in
      with recursive waiting as (
        (select tenant_id, pipeline from ready where held = 'room' order by tenant_id, pipeline limit 1)
        union all
        select next.* from waiting w cross join lateral (
          select tenant_id, pipeline from ready
          where held = 'room' and (tenant_id, pipeline) > (w.tenant_id, w.pipeline)
          order by tenant_id, pipeline
          limit 1
        ) next
      )
      select w.tenant_id, w.pipeline, 't' || w.tenant_id as t, 'p' || w.pipeline as p,
             tenant.max_running as t_most, pipeline.max_running as p_most
      from waiting w
      left join tenant on tenant.id = w.tenant_id
      left join pipeline on pipeline.name = w.pipeline
      where not exists (
        select from pause where pause.tenant_id = w.tenant_id and (expires_at is null or expires_at > now())
      )
      order by random()
    loop
      exit when admitted >= most;
      if flow.t_most is not null and not room ? flow.t then
        room := room || jsonb_build_object(flow.t, flow.t_most - (
          select count(*) from ready where tenant_id = flow.tenant_id and gated and held is null
        ));
      end if;
      if flow.p_most is not null and not room ? flow.p then
        room := room || jsonb_build_object(flow.p, flow.p_most - (
          select count(*) from ready where pipeline = flow.pipeline and gated and held is null
        ));
      end if;
      continue when (room ->> flow.t)::integer <= 0 or (room ->> flow.p)::integer <= 0;

      select ctid into spot from ready
      where tenant_id = flow.tenant_id and pipeline = flow.pipeline and held = 'room' and run_at <= now()
      order by priority desc, rank
      limit 1
      for update skip locked;
      continue when spot is null;
      update ready set held = null where ctid = spot;
      admitted := admitted + 1;
      if room ? flow.t then
        room := room || jsonb_build_object(flow.t, (room ->> flow.t)::integer - 1);
      end if;
      if room ? flow.p then
        room := room || jsonb_build_object(flow.p, (room ->> flow.p)::integer - 1);
      end if;
    end loop;
    exit when admitted = before or admitted >= most;
  end loop;
  return admitted;
end $$;

CREATE FUNCTION public.bury(of_tenant integer, of_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
  if not exists (select from forgotten where tenant_id = of_tenant and id = of_id) then
    return false;
  end if;
  delete from ready where tenant_id = of_tenant and job_id = of_id;
  delete from job where tenant_id = of_tenant and id = of_id;
  return true;
end $$;

CREATE FUNCTION public.detach_day(before timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
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

CREATE FUNCTION public.drop_day(of_day text) RETURNS boolean
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
begin
  if not exists (select from done_day where name = of_day and not attached) then
    return false;
  end if;
  execute format('drop table %I', of_day);
  return true;
end $$;

CREATE FUNCTION public.drop_month(before timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
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

CREATE FUNCTION public.enqueue(ids uuid[], params_texts text[], inputs_texts text[], fingerprints bytea[], idempotency_keys text[], contents bytea[], batches uuid[], weights real[], most_attempts smallint[], traceparents text[], flows integer[], places integer[], flow_tenants integer[], flow_pipelines text[], flow_priorities smallint[], flow_lows bigint[], reuse_seconds double precision, all_new boolean) RETURNS TABLE(id uuid, created boolean, refused boolean, gated boolean, head bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
  heads bigint[];    -- the rank of the first job that waits in the lane of each flow
  starts bigint[];   -- the rank of the next job of each flow
  steps bigint[];
  gates boolean[];   -- whether a flow is gated
  rooms integer[];   -- how many more jobs it may have
  twins uuid[];      -- of each job: one of the same content that runs, waits or has succeeded
begin
  perform pg_advisory_xact_lock_shared(kind, name)
  from (select 5381924 as kind, tenant_id as name from unnest(flow_tenants) as u (tenant_id)
        union
        select 5381925, hashtext(pipeline) from unnest(flow_pipelines) as u (pipeline)
        order by 1, 2) gates;

  if num_nonnulls(variadic contents) > 0 then
    perform pg_advisory_xact_lock(hashtextextended(encode(content, 'hex'), tenant_id))
    from (select distinct flow_tenants[flow] as tenant_id, content from unnest(flows, contents) as u (flow, content)
          where content is not null order by 2, 1) c;
    twins := array(
      select twin.id
      from unnest(flows, contents, batches, idempotency_keys) with ordinality as u (flow, content, batch_id, idempotency_key, ask)
      left join lateral (
        select j.id from job j
        where u.batch_id is null
          and not exists (select from job k
                          where k.tenant_id = flow_tenants[u.flow] and k.idempotency_key = u.idempotency_key)
          and j.tenant_id = flow_tenants[u.flow] and j.content = u.content
          and (exists (select from ready r
                       where r.tenant_id = j.tenant_id and r.job_id = j.id and r.cancel_requested_at is null)
               or (select d.state = 'succeeded'
                          and (reuse_seconds is null or d.finished_at > now() - make_interval(secs => reuse_seconds))
                   from done d where d.tenant_id = j.tenant_id and d.job_id = j.id
                   order by d.epoch desc limit 1))
        order by j.created_at desc
        limit 1
      ) twin on true
      order by ask
    );
  end if;

  select array_agg(f.head order by f.flow),
         array_agg(greatest(f.head, last.rank + f.step) order by f.flow),
         array_agg(f.step order by f.flow),
         array_agg(f.gated order by f.flow),
         array_agg(f.room order by f.flow)
  into heads, starts, steps, gates, rooms
  from (
    select u.*, 1000 / coalesce(t.weight, 1) as step,
           coalesce(
             (select rank from ready
              where pipeline = u.pipeline and priority = u.priority and rank >= u.low and held is null and state = 'queued'
              order by rank
              limit 1),
             (extract(epoch from now()) * 1e9)::bigint
           ) as head,
           is_gated(u.tenant_id, u.pipeline) as gated,
           least(
             case when t.max_queued is not null then t.max_queued - (
               select count(*) from (select from ready where tenant_id = t.id limit t.max_queued) q
             ) end,
             case when p.max_queued is not null then p.max_queued - (
               select count(*) from (select from ready where pipeline = p.name limit p.max_queued) q
             ) end
           ) as room
    from unnest(flow_tenants, flow_pipelines, flow_priorities, flow_lows) with ordinality
      as u (tenant_id, pipeline, priority, low, flow)
    left join tenant t on t.id = u.tenant_id
    left join pipeline p on p.name = u.pipeline
    offset 0  -- what is looked up here is looked up once
  ) f
  left join lateral (
    select rank from ready
    where pipeline = f.pipeline and priority = f.priority and tenant_id = f.tenant_id and rank >= f.head
    order by rank desc
    limit 1
  ) last on true;

  if all_new and num_nonnulls(variadic rooms) = 0 and coalesce(num_nonnulls(variadic twins), 0) = 0 then
    return query
    with accepted as (
      insert into job (tenant_id, id, pipeline, priority, params, inputs, fingerprint, idempotency_key, content, batch_id,
                       weight, max_attempts, traceparent)
      select flow_tenants[flow], id, flow_pipelines[flow], flow_priorities[flow], params::jsonb, inputs::jsonb, fingerprint,
             idempotency_key, content, batch_id, weight, max_attempts, traceparent
      from unnest(ids, params_texts, inputs_texts, fingerprints, idempotency_keys, contents, batches, weights, most_attempts,
                  traceparents, flows)
        as t (id, params, inputs, fingerprint, idempotency_key, content, batch_id, weight, max_attempts, traceparent, flow)
      order by idempotency_key collate "C"
    ), placed as (
      insert into ready (tenant_id, job_id, pipeline, priority, rank, gated, held, max_attempts, batch_id, epoch, seq, state,
                         reason)
      select flow_tenants[flow], id, flow_pipelines[flow], flow_priorities[flow], starts[flow] + place * steps[flow],
             gates[flow], case when gates[flow] then 'room' end, max_attempts, batch_id, 1, 1, 'queued', 'submitted'
      from unnest(ids, flows, places, most_attempts, batches) as t (id, flow, place, max_attempts, batch_id)
    )
    select null::uuid, true, false, f.gated, f.head from unnest(gates, heads) as f (gated, head);
    return;
  end if;

  return query
  with asked as materialized (
    select flow_tenants[flow] as tenant_id, t.*
    from unnest(ids, params_texts, inputs_texts, fingerprints, idempotency_keys, contents, batches, weights, most_attempts,
                traceparents, flows, places) with ordinality
      as t (id, params, inputs, fingerprint, idempotency_key, content, batch_id, weight, max_attempts, traceparent, flow,
            place, ask)
  ), accepted as (
    insert into job (tenant_id, id, pipeline, priority, params, inputs, fingerprint, idempotency_key, content, batch_id,
                     weight, max_attempts, traceparent)
    select tenant_id, id, flow_pipelines[flow], flow_priorities[flow], params::jsonb, inputs::jsonb, fingerprint,
           idempotency_key, content, batch_id, weight, max_attempts, traceparent
    from asked
    where (rooms[flow] is null or place < rooms[flow]) and twins[ask] is null
    order by tenant_id, coalesce(idempotency_key, id::text) collate "C"
    on conflict do nothing
    returning tenant_id, id
  ), placed as (
    insert into ready (tenant_id, job_id, pipeline, priority, rank, gated, held, max_attempts, batch_id, epoch, seq, state,
                       reason)
    select a.tenant_id, a.id, flow_pipelines[a.flow], flow_priorities[a.flow], starts[a.flow] + a.place * steps[a.flow],
           gates[a.flow], case when gates[a.flow] then 'room' end, a.max_attempts, a.batch_id, 1, 1, 'queued', 'submitted'
    from accepted join asked a using (tenant_id, id)
  )
  select coalesce(twins[a.ask], a.id), accepted.id is not null, a.place >= rooms[a.flow] is true, gates[a.flow], heads[a.flow]
  from asked a left join accepted using (tenant_id, id)
  order by a.ask;
end $$;

CREATE FUNCTION public.exchange(tenants integer[], ids uuid[], lease_epochs integer[], states text[], reasons text[], progresses real[], stages text[], results text[], outputs_texts text[], errors text[], lane_pipelines text[], lane_priorities smallint[], lane_lows bigint[], slots integer, worker uuid, lease_seconds double precision) RETURNS TABLE(claimed boolean, tenant_id integer, job_id uuid, epoch integer, seq integer, lease_epoch integer, attempt smallint, state text, reason text, seconds double precision, gated boolean, batch_id uuid, max_attempts smallint, crashes text[], pipeline text, priority smallint, rank bigint, params jsonb, inputs jsonb, traceparent text)
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
#variable_conflict use_column
declare
  spots tid[] := '{}';
  paused text[];             -- pipelines
  paused_tenants integer[];
  all_go_on boolean;         -- none is paused: what the planner takes for as likely as not, where it would expect few rows
  lane integer;
begin
  if cardinality(ids) > 0 then
    return query
    with gone as (
      delete from ready r
      using (
        select * from unnest(tenants, ids, lease_epochs, states, reasons, progresses, stages, results, outputs_texts, errors)
          as u (tenant_id, job_id, lease_epoch, state, reason, progress, stage, result, outputs, error)
        order by tenant_id, job_id
      ) e
      where r.tenant_id = e.tenant_id and r.job_id = e.job_id and r.state = 'running' and r.lease_epoch = e.lease_epoch
      returning r.tenant_id, r.job_id, r.pipeline, r.gated, r.batch_id, r.epoch, r.seq, r.attempt, r.lease_epoch, r.since,
                r.opened_at, r.started_at, r.cancel_requested_at is not null as canceled,
                case when r.cancel_requested_at is null then e.state else 'canceled' end as state,
                case when r.cancel_requested_at is null then e.reason else 'canceled' end as reason,
                e.progress, e.stage, e.result, e.outputs, e.error
    ), recorded as (
      insert into done (tenant_id, job_id, pipeline, epoch, seq, state, reason, attempt, lease_epoch, opened_at, claimed_at,
                        started_at, progress, stage, result, outputs, error)
      select tenant_id, job_id, pipeline, epoch, seq + 1, state, reason, attempt, lease_epoch, opened_at, since,
             started_at, progress, stage,
             case when not canceled then result::jsonb end,
             case when canceled then '[]' else outputs::jsonb end,
             case when not canceled then error::jsonb end
      from gone
    )
    select false, tenant_id, job_id, epoch, seq + 1, lease_epoch, attempt, state, reason,
           extract(epoch from now() - since)::float8, gated, batch_id,
           null::smallint, null::text[], null::text, null::smallint, null::bigint, null::jsonb, null::jsonb, null::text
    from gone;
  end if;

  if slots > 0 then
    paused := array(select pipeline from pause where pipeline is not null and (expires_at is null or expires_at > now()));
    paused_tenants := array(
      select tenant_id from pause where tenant_id is not null and (expires_at is null or expires_at > now())
    );
    all_go_on := cardinality(paused_tenants) = 0;
  end if;
  for lane in 1 .. cardinality(lane_pipelines) loop
    exit when cardinality(spots) >= slots;
    continue when lane_pipelines[lane] = any (paused);
    if lane_priorities[lane] = lane_priorities[1] then  -- each pipeline comes with every priority, so here it is met once
      spots := spots || array(
        select ctid from ready
        where pipeline = lane_pipelines[lane] and held = 'delay' and run_at <= now()
          and state = 'queued' and cancel_requested_at is null and (all_go_on or tenant_id <> all (paused_tenants))
        order by run_at
        limit (slots - cardinality(spots) + 1) / 2
        for update skip locked
      );
    end if;
    spots := spots || array(
      select ctid from ready
      where pipeline = lane_pipelines[lane] and priority = lane_priorities[lane] and rank >= lane_lows[lane]
        and held is null and state = 'queued' and cancel_requested_at is null and (all_go_on or tenant_id <> all (paused_tenants))
      order by rank
      limit slots - cardinality(spots)
      for update skip locked
    );
  end loop;

  for lane in 1 .. cardinality(lane_pipelines) loop  -- slots that nobody else wants
    exit when cardinality(spots) >= slots or lane_priorities[lane] <> lane_priorities[1];
    continue when lane_pipelines[lane] = any (paused);
    spots := spots || array(
      select ctid from ready
      where pipeline = lane_pipelines[lane] and held = 'delay' and run_at <= now()
        and state = 'queued' and cancel_requested_at is null and (all_go_on or tenant_id <> all (paused_tenants))
        and ctid <> all (spots)
      order by run_at
      limit slots - cardinality(spots)
      for update skip locked
    );
  end loop;

  if cardinality(spots) > 0 then
    return query
    with taken as (
      update ready r
      set state = 'running', reason = 'claimed', seq = r.seq + 1, attempt = r.attempt + 1,
          lease_epoch = r.lease_epoch + 1, since = now(), started_at = coalesce(r.started_at, now()), worker_id = worker,
          lease_expires_at = now() + make_interval(secs => lease_seconds), held = null,
          progress = 0, progress_n = 0, stage = null, status = null
      from unnest(spots) as p (spot)
      where r.ctid = p.spot
      returning r.*
    )
    select true, t.tenant_id, t.job_id, t.epoch, t.seq, t.lease_epoch, t.attempt, t.state, t.reason,
           extract(epoch from now() - t.run_at)::float8, t.gated, t.batch_id, t.max_attempts, t.crashes, t.pipeline, t.priority, t.rank,
           j.params, j.inputs, j.traceparent
    from taken t join job j on j.tenant_id = t.tenant_id and j.id = t.job_id;
  end if;
end $$;

CREATE FUNCTION public.is_gated(of_tenant integer, of_pipeline text) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select exists (select from tenant where id = of_tenant and max_running is not null)
      or exists (select from pipeline where name = of_pipeline and max_running is not null)
      or exists (select from pause where tenant_id = of_tenant and (expires_at is null or expires_at > now()))
$$;

CREATE FUNCTION public.keep_known(of_day text, first bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $_$
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
end $_$;

CREATE FUNCTION public.make_done_partitions(days integer) RETURNS integer
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
declare
  first date;
  made integer := 0;
begin
  perform pg_advisory_xact_lock(5381922);
  select greatest((now() at time zone 'UTC')::date, (max(finished_at) at time zone 'UTC')::date + 1) into first
  from done_unplaced;
  for day in 0 .. days loop
    if to_regclass('done_' || to_char(first + day, 'YYYYMMDD')) is null then
      execute format('create table %I (like done including defaults including constraints)',
                     'done_' || to_char(first + day, 'YYYYMMDD'));
      execute format('alter table done attach partition %I for values from (%L) to (%L)',
                     'done_' || to_char(first + day, 'YYYYMMDD'),
                     (first + day)::text || ' 00:00+00', (first + day + 1)::text || ' 00:00+00');
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;

CREATE FUNCTION public.make_forgotten_partitions() RETURNS integer
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
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

CREATE FUNCTION public.prune(tenants integer[], ids uuid[], before timestamp with time zone, by_row boolean) RETURNS TABLE(id bigint, tenant_id integer, keys text[])
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

CREATE TABLE public.api_key (
    tenant_id integer NOT NULL,
    id text NOT NULL,
    hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone
);

CREATE TABLE public.attempt (
    tenant_id integer NOT NULL,
    job_id uuid NOT NULL,
    epoch integer NOT NULL,
    lease_epoch integer NOT NULL,
    attempt smallint NOT NULL,
    claimed_seq integer NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone DEFAULT now() NOT NULL,
    reason text NOT NULL,
    progress real NOT NULL,
    worker_id uuid NOT NULL,
    error jsonb,
    CONSTRAINT attempt_reason CHECK ((reason = ANY (ARRAY['retry'::text, 'released'::text, 'rescued'::text])))
);

CREATE TABLE public.batch (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    size integer NOT NULL,
    forgotten integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    round integer DEFAULT 1 NOT NULL,
    CONSTRAINT batch_size CHECK ((size > 0))
);

CREATE TABLE public.blob (
    tenant_id integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    put_id uuid NOT NULL,
    bytes bigint NOT NULL,
    chunk_bytes integer NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT blob_sha256 CHECK ((length(sha256) = 32))
);

CREATE TABLE public.blob_chunk (
    tenant_id integer NOT NULL,
    put_id uuid NOT NULL,
    n integer NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY public.blob_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE public.blob_loose (
    tenant_id integer NOT NULL,
    put_id uuid NOT NULL,
    abandoned boolean DEFAULT false NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.debris (
    id bigint NOT NULL,
    tenant_id integer NOT NULL,
    keys text[] NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.debris ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.debris_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.done (
    tenant_id integer NOT NULL,
    job_id uuid NOT NULL,
    pipeline text NOT NULL COLLATE pg_catalog."C",
    epoch integer NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    attempt smallint NOT NULL,
    lease_epoch integer NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    claimed_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    progress real NOT NULL,
    stage text,
    result jsonb,
    outputs jsonb DEFAULT '[]'::jsonb NOT NULL,
    error jsonb,
    CONSTRAINT done_state CHECK ((state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'canceled'::text]))),
    CONSTRAINT failed_has_an_error CHECK (((state = 'failed'::text) = (error IS NOT NULL))),
    CONSTRAINT only_success_has_outputs CHECK (((state = 'succeeded'::text) OR ((outputs = '[]'::jsonb) AND (result IS NULL))))
)
PARTITION BY RANGE (finished_at);

CREATE VIEW public.done_day AS
 SELECT (relname)::text AS name,
    to_date("right"((relname)::text, 8), 'YYYYMMDD'::text) AS day,
    relispartition AS attached
   FROM pg_class
  WHERE ((relkind = 'r'::"char") AND (relname ~ '^done_\d{8}$'::text) AND (relnamespace = ( SELECT pg_class_1.relnamespace
           FROM pg_class pg_class_1
          WHERE (pg_class_1.oid = ('public.done'::regclass)::oid))));

CREATE TABLE public.done_unplaced (
    tenant_id integer CONSTRAINT done_tenant_id_not_null NOT NULL,
    job_id uuid CONSTRAINT done_job_id_not_null NOT NULL,
    pipeline text CONSTRAINT done_pipeline_not_null NOT NULL COLLATE pg_catalog."C",
    epoch integer CONSTRAINT done_epoch_not_null NOT NULL,
    seq integer CONSTRAINT done_seq_not_null NOT NULL,
    state text CONSTRAINT done_state_not_null NOT NULL,
    reason text CONSTRAINT done_reason_not_null NOT NULL,
    attempt smallint CONSTRAINT done_attempt_not_null NOT NULL,
    lease_epoch integer CONSTRAINT done_lease_epoch_not_null NOT NULL,
    opened_at timestamp with time zone CONSTRAINT done_opened_at_not_null NOT NULL,
    claimed_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone DEFAULT now() CONSTRAINT done_finished_at_not_null NOT NULL,
    progress real CONSTRAINT done_progress_not_null NOT NULL,
    stage text,
    result jsonb,
    outputs jsonb DEFAULT '[]'::jsonb CONSTRAINT done_outputs_not_null NOT NULL,
    error jsonb,
    CONSTRAINT done_state CHECK ((state = ANY (ARRAY['succeeded'::text, 'failed'::text, 'canceled'::text]))),
    CONSTRAINT failed_has_an_error CHECK (((state = 'failed'::text) = (error IS NOT NULL))),
    CONSTRAINT only_success_has_outputs CHECK (((state = 'succeeded'::text) OR ((outputs = '[]'::jsonb) AND (result IS NULL))))
);

CREATE TABLE public.forgotten (
    forgotten_at timestamp with time zone DEFAULT now() NOT NULL,
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    reason text NOT NULL,
    CONSTRAINT forgotten_reason CHECK ((reason = 'retention'::text))
)
PARTITION BY RANGE (forgotten_at);

CREATE TABLE public.job (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    pipeline text NOT NULL COLLATE pg_catalog."C",
    priority smallint NOT NULL,
    params jsonb NOT NULL,
    inputs jsonb NOT NULL,
    fingerprint bytea NOT NULL,
    idempotency_key text,
    content bytea,
    batch_id uuid,
    weight real NOT NULL,
    max_attempts smallint NOT NULL,
    traceparent text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.ready (
    tenant_id integer NOT NULL,
    job_id uuid NOT NULL,
    pipeline text NOT NULL COLLATE pg_catalog."C",
    priority smallint NOT NULL,
    rank bigint NOT NULL,
    held text,
    gated boolean DEFAULT false NOT NULL,
    max_attempts smallint NOT NULL,
    batch_id uuid,
    epoch integer NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    attempt smallint DEFAULT 0 NOT NULL,
    crashes text[] DEFAULT '{}'::text[] NOT NULL,
    lease_epoch integer DEFAULT 0 NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    run_at timestamp with time zone DEFAULT now() NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    worker_id uuid,
    lease_expires_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    progress real DEFAULT 0 NOT NULL,
    progress_n integer DEFAULT 0 NOT NULL,
    stage text,
    status text,
    error jsonb,
    CONSTRAINT attempts_are_counted CHECK (((attempt >= 0) AND (attempt <= max_attempts))),
    CONSTRAINT ready_held CHECK (((held IS NULL) OR ((held = ANY (ARRAY['delay'::text, 'room'::text])) AND (NOT (gated AND (held = 'delay'::text))) AND (state = 'queued'::text)))),
    CONSTRAINT ready_priority CHECK (((priority >= 0) AND (priority <= 3))),
    CONSTRAINT ready_state CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text]))),
    CONSTRAINT running_has_a_lease CHECK (((state = 'running'::text) = ((lease_expires_at IS NOT NULL) AND (worker_id IS NOT NULL))))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='2000');

CREATE VIEW public.job_now AS
 SELECT j.tenant_id,
    j.id,
    j.pipeline,
    j.priority,
    j.batch_id,
    j.weight,
    j.max_attempts,
    j.inputs,
    j.traceparent,
    j.created_at,
    COALESCE(r.epoch, d.epoch) AS epoch,
    COALESCE(r.seq, d.seq) AS seq,
    COALESCE(r.state, d.state) AS state,
    COALESCE(r.reason, d.reason) AS reason,
    COALESCE(r.attempt, d.attempt) AS attempt,
    COALESCE(r.lease_epoch, d.lease_epoch) AS lease_epoch,
        CASE
            WHEN (r.job_id IS NOT NULL) THEN r.started_at
            ELSE d.started_at
        END AS started_at,
        CASE
            WHEN (r.state = 'running'::text) THEN r.since
            ELSE d.claimed_at
        END AS claimed_at,
    COALESCE(r.opened_at, d.opened_at) AS opened_at,
    COALESCE(r.progress, d.progress) AS progress,
    COALESCE(r.progress_n, 0) AS progress_n,
        CASE
            WHEN (r.job_id IS NOT NULL) THEN r.stage
            ELSE d.stage
        END AS stage,
    r.status,
        CASE
            WHEN (r.job_id IS NOT NULL) THEN r.error
            ELSE d.error
        END AS error,
    r.cancel_requested_at,
    d.finished_at,
    d.result,
    COALESCE(d.outputs, '[]'::jsonb) AS outputs
   FROM ((public.job j
     LEFT JOIN public.ready r ON (((r.tenant_id = j.tenant_id) AND (r.job_id = j.id))))
     LEFT JOIN LATERAL ( SELECT done.tenant_id,
            done.job_id,
            done.pipeline,
            done.epoch,
            done.seq,
            done.state,
            done.reason,
            done.attempt,
            done.lease_epoch,
            done.opened_at,
            done.claimed_at,
            done.started_at,
            done.finished_at,
            done.progress,
            done.stage,
            done.result,
            done.outputs,
            done.error
           FROM public.done
          WHERE ((done.tenant_id = j.tenant_id) AND (done.job_id = j.id) AND (r.job_id IS NULL))
          ORDER BY done.epoch DESC
         LIMIT 1) d ON (true));

CREATE TABLE public.pause (
    id integer NOT NULL,
    tenant_id integer,
    pipeline text COLLATE pg_catalog."C",
    owner text NOT NULL,
    reason text NOT NULL,
    seconds double precision,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT pause_of_one CHECK (((tenant_id IS NULL) <> (pipeline IS NULL)))
);

ALTER TABLE public.pause ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.pause_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.pipeline (
    name text NOT NULL COLLATE pg_catalog."C",
    version text NOT NULL,
    declaration json NOT NULL,
    max_running integer,
    max_queued integer,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pipeline_limits CHECK (((max_running > 0) AND (max_queued > 0)))
);

CREATE TABLE public.schema_migration (
    number integer NOT NULL,
    name text NOT NULL,
    needs integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.signing_key (
    id integer NOT NULL,
    secret bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.signing_key ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.signing_key_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.sweep (
    tenant_id integer NOT NULL,
    key text NOT NULL COLLATE pg_catalog."C",
    taken_at timestamp with time zone NOT NULL
);

CREATE TABLE public.tenant (
    id integer NOT NULL,
    name text NOT NULL,
    weight smallint DEFAULT 1 NOT NULL,
    max_priority smallint DEFAULT 3 NOT NULL,
    max_running integer,
    max_queued integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_limits CHECK ((((max_priority >= 0) AND (max_priority <= 3)) AND (max_running > 0) AND (max_queued > 0))),
    CONSTRAINT tenant_weight CHECK (((weight >= 1) AND (weight <= 1000)))
);

ALTER TABLE public.tenant ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenant_id_seq
    START WITH 2
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.worker (
    id uuid NOT NULL,
    slots smallint NOT NULL,
    pipelines text[] NOT NULL,
    paces jsonb NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.done ATTACH PARTITION public.done_unplaced DEFAULT;

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (tenant_id, job_id, lease_epoch);

ALTER TABLE ONLY public.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.blob_chunk
    ADD CONSTRAINT blob_chunk_pkey PRIMARY KEY (tenant_id, put_id, n);

ALTER TABLE ONLY public.blob_loose
    ADD CONSTRAINT blob_loose_pkey PRIMARY KEY (tenant_id, put_id);

ALTER TABLE ONLY public.blob
    ADD CONSTRAINT blob_pkey PRIMARY KEY (tenant_id, key);

ALTER TABLE ONLY public.debris
    ADD CONSTRAINT debris_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.done
    ADD CONSTRAINT done_pkey PRIMARY KEY (tenant_id, job_id, epoch, finished_at);

ALTER TABLE ONLY public.done_unplaced
    ADD CONSTRAINT done_unplaced_pkey PRIMARY KEY (tenant_id, job_id, epoch, finished_at);

ALTER TABLE ONLY public.forgotten
    ADD CONSTRAINT forgotten_pkey PRIMARY KEY (tenant_id, id, forgotten_at);

ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (tenant_id, id);

ALTER TABLE ONLY public.pause
    ADD CONSTRAINT pause_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.ready
    ADD CONSTRAINT ready_pkey PRIMARY KEY (tenant_id, job_id);

ALTER TABLE ONLY public.schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.signing_key
    ADD CONSTRAINT signing_key_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant
    ADD CONSTRAINT tenant_name_key UNIQUE (name);

ALTER TABLE ONLY public.tenant
    ADD CONSTRAINT tenant_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX api_key_id ON public.api_key USING btree (id);

CREATE INDEX batch_ended ON public.batch USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE INDEX batch_open ON public.batch USING btree (created_at, id) WHERE (ended_at IS NULL);

CREATE INDEX blob_loose_since ON public.blob_loose USING btree (since);

CREATE INDEX done_failed ON ONLY public.done USING btree (tenant_id, finished_at DESC, job_id DESC) WHERE (state = 'failed'::text);

CREATE INDEX done_finished ON ONLY public.done USING btree (finished_at);

CREATE INDEX done_unplaced_finished_at_idx ON public.done_unplaced USING btree (finished_at);

CREATE INDEX done_unplaced_tenant_id_finished_at_job_id_idx ON public.done_unplaced USING btree (tenant_id, finished_at DESC, job_id DESC) WHERE (state = 'failed'::text);

CREATE INDEX job_batch ON public.job USING btree (batch_id, tenant_id) WHERE (batch_id IS NOT NULL);

CREATE INDEX job_content ON public.job USING btree (content, tenant_id) WHERE (content IS NOT NULL);

CREATE UNIQUE INDEX job_idempotency_key ON public.job USING btree (tenant_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE INDEX job_newest ON public.job USING btree (((tenant_id + 0)), created_at DESC, id DESC);

CREATE UNIQUE INDEX pause_pipeline ON public.pause USING btree (pipeline) WHERE (pipeline IS NOT NULL);

CREATE UNIQUE INDEX pause_tenant ON public.pause USING btree (tenant_id) WHERE (tenant_id IS NOT NULL);

CREATE INDEX ready_admitted ON public.ready USING btree (tenant_id, pipeline) WHERE (gated AND (held IS NULL));

CREATE INDEX ready_batch ON public.ready USING btree (batch_id, tenant_id) WHERE (batch_id IS NOT NULL);

CREATE INDEX ready_due ON public.ready USING btree (pipeline, run_at) WHERE (held = 'delay'::text);

CREATE INDEX ready_flow ON public.ready USING btree (pipeline, priority, tenant_id, rank);

CREATE INDEX ready_held ON public.ready USING btree (tenant_id, pipeline, priority DESC, rank) WHERE (held = 'room'::text);

CREATE INDEX ready_rank ON public.ready USING btree (pipeline, priority, rank) WHERE (held IS NULL);

CREATE UNIQUE INDEX sweep_is_one_row ON public.sweep USING btree ((true));

ALTER INDEX public.done_finished ATTACH PARTITION public.done_unplaced_finished_at_idx;

ALTER INDEX public.done_pkey ATTACH PARTITION public.done_unplaced_pkey;

ALTER INDEX public.done_failed ATTACH PARTITION public.done_unplaced_tenant_id_finished_at_job_id_idx;

ALTER TABLE ONLY public.api_key
    ADD CONSTRAINT api_key_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenant(id);
