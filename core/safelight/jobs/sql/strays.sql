-- release, of strays: leases of a worker beside those that it knows, as the answer to a claim was lost on the way.
-- $1 worker_id; what it knows: $2 tenant_id[], $3 job_id[], $4 lease_epoch[]. Index: none, it reads ready, which is small.
-- release.sql hands back what is found. Two statements, as that one is fenced: what changed hands meanwhile is refused.
select tenant_id, job_id, lease_epoch, progress from ready
where worker_id = $1 and state = 'running'
  and (tenant_id, job_id, lease_epoch) not in (select * from unnest($2::integer[], $3::uuid[], $4::integer[]))
