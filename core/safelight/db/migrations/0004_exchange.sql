-- exchange(...): complete (also of a run that failed or was canceled) and claim, fused, for jobs/sql/exchange.sql: records
-- how runs ended, each fenced on its own, and takes jobs for the slots that are free then; one commit for all of it.
-- Outputs become visible here. Lanes (pipeline and priority) are read in the order in which they are given, each from
-- its lane_low on; jobs whose delay is over get half of the slots at most, so that a storm of retries holds up nobody, and
-- then what is left. Pipelines and tenants that are paused are passed over: of a tenant nearly all that waits is held anyway
-- (hold_tenant), but not what a pause finds under way, and what it is just about to hold.
-- Answers a row for each end that was recorded (claimed = false; a run that is missing had lost its lease) and one for
-- each claim, in order. Why a function: see enqueue.
-- Keep: a job whose cancel was accepted never succeeds; deleting from ready and inserting into done stay one statement;
-- what is claimed was locked first, and nobody else changes a row that is locked; ends go by key, as whoever locks many rows
-- does, or two that meet could wait for each other (nothing but a nested loop may join them, see the settings).
create function exchange(
  tenants integer[], ids uuid[], lease_epochs integer[], states text[], reasons text[], progresses real[], stages text[],
  results text[], outputs_texts text[], errors text[],
  lane_pipelines text[], lane_priorities smallint[], lane_lows bigint[],
  slots integer, worker uuid, lease_seconds float8
) returns table (
  claimed boolean, tenant_id integer, job_id uuid, epoch integer, seq integer, lease_epoch integer, attempt smallint,
  state text, reason text, seconds float8,  -- seconds: how long an end had run, how long a claim had waited since it was due
  gated boolean, batch_id uuid, max_attempts smallint, crashes text[], pipeline text, priority smallint, rank bigint, params jsonb, inputs jsonb,
  traceparent text
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
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
