-- create: a batch that waits for its jobs. $1 tenant_id, $2 id, $3 size. Index: batch_pkey. Answers the size that it has:
-- another one, when there was such a batch before.
with made as (
  insert into batch (tenant_id, id, size) values ($1, $2, $3) on conflict do nothing returning size
)
select size from made union all select size from batch where tenant_id = $1 and id = $2 limit 1
