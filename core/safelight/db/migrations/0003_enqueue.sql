-- enqueue(...): accepts jobs, for jobs/sql/enqueue.sql and enqueue_new.sql. One row each in job and ready, or none when the
-- id or the idempotency key is known: the unique keys job_pkey and job_idempotency_key decide what is a repeat.
-- `all_new`: nearly all that is submitted is no repeat. Then the rows are inserted as they are, at two thirds of the price,
-- and what is answered is a row for each flow; a repeat among them is an error (unique_violation) and nothing is
-- accepted: the caller asks again, without `all_new`. So it is where a queue is full or one of them has a twin, but that is
-- seen in time, and goes on here.
--
-- rank is the start tag of start-time fair queueing (Goyal, Vin, Cheng, 1996). A tenant's jobs in a lane (pipeline and
-- priority) follow each other at 1000/weight; the first begins where the lane is now, at the rank of its first waiting
-- job. So a tenant with 100,000 jobs waiting has them spread over the lane's future, and the next tenant's first job
-- goes to the front of it. An empty lane begins at the time, in nanoseconds, which no backlog outruns: ranks only grow,
-- and a reader may leave out what it has passed (flow_lows: the rank from which the head of a lane is looked for).
-- Two calls at once may give one tenant the same ranks; no more than that.
--
-- A job of the same content that has not failed answers instead, if the asker lets it: only one of those that come at
-- once is new, as they wait for each other. A result only for reuse_seconds (null: as long as it is there): who is told of it
-- comes for it later. Not for a job of a batch, which counts the jobs that it has, nor under a key that is known: that says which.
--
-- Why a function: its plans are made once a connection and do not follow what the statistics say of a table that is
-- empty now and full in a second; and PgBouncer needs no named statements for it.
-- What is gated (its tenant or its pipeline has a limit or a pause) is held until `admit` lets it in. A limit or a pause
-- that is set just now waits for this call, and this call for it (jobs/sql/lock_gate.sql).
-- Keep: job and ready in one transaction; an accepted job without a place in the queue would be lost. And the order of the
-- inserts, by what a repeat has in common with the first: each waits for the other's like, and two calls with the same jobs
-- in opposite orders would wait for each other.
create function is_gated(of_tenant integer, of_pipeline text) returns boolean language sql stable as $$
  select exists (select from tenant where id = of_tenant and max_running is not null)
      or exists (select from pipeline where name = of_pipeline and max_running is not null)
      or exists (select from pause where tenant_id = of_tenant and (expires_at is null or expires_at > now()))
$$;

create function enqueue(
  ids uuid[], params_texts text[], inputs_texts text[], fingerprints bytea[], idempotency_keys text[], contents bytea[],
  batches uuid[], weights real[], most_attempts smallint[], traceparents text[],
  flows integer[], places integer[],     -- of each job: its flow, and its place in that, from 1 and from 0 on
  flow_tenants integer[], flow_pipelines text[], flow_priorities smallint[],  -- a flow is what one tenant has in a lane
  flow_lows bigint[],
  reuse_seconds float8,
  all_new boolean
) returns table (id uuid, created boolean, refused boolean, gated boolean, head bigint)  -- of each job; head: of its lane
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
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
