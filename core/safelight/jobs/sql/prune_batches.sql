-- prune: batches that ended, or began and never ended, long ago, and of which no job is known any more.
-- $1 the time before which that is old, $2 limit. Index: batch_ended, batch_open, job_batch, batch_pkey.
-- Keep: skip locked; what somebody else has now is found the next time.
with old as materialized (
  select * from (
    select tenant_id, id from batch b
    where ended_at < $1 and not exists (select from job j where j.tenant_id = b.tenant_id and j.batch_id = b.id)
    order by ended_at
    limit $2
    for update skip locked
  ) ended
  union all
  select * from (
    select tenant_id, id from batch b
    where ended_at is null and created_at < $1
      and not exists (select from job j where j.tenant_id = b.tenant_id and j.batch_id = b.id)
    order by created_at
    limit $2
    for update skip locked
  ) never_ended
)
delete from batch b using old o where b.tenant_id = o.tenant_id and b.id = o.id
returning b.tenant_id, b.id
