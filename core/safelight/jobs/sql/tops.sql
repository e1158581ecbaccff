-- tops: the newest cursor, as far as Postgres knows it, of many jobs at once, for whoever watches them. $1 tenant_id[], $2 job_id[].
-- Index: ready_pkey, done_pkey.
select t.tenant_id, t.job_id, coalesce(r.epoch, d.epoch) as epoch, coalesce(r.seq, d.seq) as seq,
       case when r.state = 'running' then r.progress_n else 0 end as n
from unnest($1::integer[], $2::uuid[]) as t (tenant_id, job_id)
left join ready r on r.tenant_id = t.tenant_id and r.job_id = t.job_id
left join lateral (
  select epoch, seq from done where done.tenant_id = t.tenant_id and done.job_id = t.job_id and r.job_id is null
  order by epoch desc limit 1
) d on true
where r.job_id is not null or d.epoch is not null
