-- put_chunk: one chunk of a put that is still open; answers nothing when it was given up.
-- $1 tenant_id, $2 put_id, $3 n, $4 data. Index: blob_loose_pkey.
-- Keep: `for share`. Giving up a put waits for it, and so knows that no chunk follows.
-- The commit does not wait for the disk: the log is in order, so the commit of finish_put makes all chunks durable.
with lazy as materialized (
  select set_config('synchronous_commit', 'off', true)
), put as materialized (
  select l.tenant_id, l.put_id from blob_loose l, lazy
  where l.tenant_id = $1 and l.put_id = $2 and not l.abandoned
  for share of l
)
insert into blob_chunk (tenant_id, put_id, n, data)
select tenant_id, put_id, $3::integer, $4::bytea from put
returning n
