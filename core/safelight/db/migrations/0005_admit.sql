-- admit(...): lets jobs in that wait for room, for jobs/sql/admit.sql. A gated job (its tenant or its pipeline has a limit
-- or a pause) is held when it is enqueued, and when it comes back from a run; admitted are those that may be claimed and those that run, and there are never
-- more of them than max_running. So a claim needs to know nothing of limits, and a tenant whose 100,000 jobs wait for room
-- is not in its way. Tenants and pipelines take turns, one job a turn, best priority and rank first.
-- One at a time: who finds it under way leaves it to the other, and to the next look. Answers how many were admitted.
-- Keep: the lock before the counting, and the counting in a statement of its own (it has to see what the last one did).
create function admit(most integer) returns integer
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
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
