-- orphans: which of these keys no job refers to and none ever will. $1 tenant_id[], $2 job_id[], $3 the lease epoch of an
-- output or null for an input[], $4 key[]. Index: job_pkey, ready_pkey, done_pkey. Answers their numbers, from 1.
-- Outputs of a run whose lease still holds are not recorded yet; those of earlier leases never will be.
-- Keep: one statement, so that a run that ends at this moment is seen either running or with what it left.
-- Keep: lateral, with a limit. A join, or an `exists`, may be answered from a hash of all there is.
select k.n
from unnest($1::integer[], $2::uuid[], $3::integer[], $4::text[]) with ordinality as k (tenant_id, job_id, lease_epoch, key, n)
left join lateral (
  select * from job where tenant_id = k.tenant_id and id = k.job_id limit 1
) j on true
left join lateral (
  select true as yes from jsonb_array_elements(j.inputs) i where k.lease_epoch is null and i ->> 'key' = k.key limit 1
) input on true
left join lateral (
  select true as yes from ready r
  where r.tenant_id = j.tenant_id and r.job_id = j.id and r.state = 'running' and r.lease_epoch <= k.lease_epoch
  limit 1
) runs on true
left join lateral (
  select true as yes from done d, jsonb_array_elements(d.outputs) o
  where d.tenant_id = j.tenant_id and d.job_id = j.id and k.lease_epoch is not null and o ->> 'key' = k.key
  limit 1
) output on true
where input.yes is null and runs.yes is null and output.yes is null
