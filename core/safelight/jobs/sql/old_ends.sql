-- prune, first part: a page of ends, the oldest first, each with whether its job is known and whether that is over with it.
-- $1 finished_at, $2 tenant_id, $3 job_id, $4 epoch of the last one of the page before; $5 the time before which an end is
-- old, $6 limit. Index: job_pkey, ready_pkey, done_pkey. And done_finished, of the days in question.
-- A job that is not known is forgotten already. One that was reopened runs, or its end is met later: it is younger.
-- Keep: lateral, with a limit. A join, or an `exists`, may be answered from a hash of all jobs, made anew for each page.
select d.finished_at, d.tenant_id, d.job_id, d.epoch, j.id is not null and runs.yes is null and later.yes is null as over
from done d
left join lateral (
  select tenant_id, id from job where tenant_id = d.tenant_id and id = d.job_id limit 1
) j on true
left join lateral (
  select true as yes from ready r where r.tenant_id = j.tenant_id and r.job_id = j.id limit 1
) runs on true
left join lateral (
  select true as yes from done n where n.tenant_id = j.tenant_id and n.job_id = j.id and n.epoch > d.epoch limit 1
) later on true
where d.finished_at >= $1 and d.finished_at < $5
  and (d.finished_at, d.tenant_id, d.job_id, d.epoch) > ($1, $2, $3, $4)
order by d.finished_at, d.tenant_id, d.job_id, d.epoch
limit $6
