-- depth: what waits and what runs, by pipeline. Index: none, it reads ready, which is small.
select pipeline, state, count(*) as jobs,
       coalesce(extract(epoch from now() - min(run_at) filter (where state = 'queued' and run_at <= now())), 0)::float8 as oldest
from ready
group by pipeline, state
