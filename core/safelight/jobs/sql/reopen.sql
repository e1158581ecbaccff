-- reopen: a person has a failed or canceled job run again: the next incarnation of the same job.
-- $1 tenant_id, $2 job_id. Index: done_pkey, ready_pkey, ready_rank. Runs under lock_job. It goes to the front of its lane.
-- Keep: lease_epoch goes on from the last one, so that outputs of old runs can never meet those of new ones.
insert into ready (tenant_id, job_id, pipeline, priority, rank, gated, held, max_attempts, batch_id, epoch, seq, state, reason, lease_epoch)
select d.tenant_id, d.job_id, j.pipeline, j.priority, coalesce(head.rank, (extract(epoch from now()) * 1e9)::bigint),
       gate.shut, case when gate.shut then 'room' end, j.max_attempts, j.batch_id, d.epoch + 1, 1, 'queued', 'reopened', d.lease_epoch
from (select * from done where tenant_id = $1 and job_id = $2 order by epoch desc limit 1) d
join job j on j.tenant_id = d.tenant_id and j.id = d.job_id
cross join lateral (select is_gated(j.tenant_id, j.pipeline) as shut) gate
left join lateral (
  select rank from ready
  where pipeline = j.pipeline and priority = j.priority and held is null and state = 'queued'
  order by rank
  limit 1
) head on true
where d.state in ('failed', 'canceled')
on conflict (tenant_id, job_id) do nothing
returning epoch, seq, batch_id
