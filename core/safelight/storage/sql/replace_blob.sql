-- replace_blob: like finish_put, for a key that is taken; answers the put that it stood on before, or nothing
-- when that blob is gone meanwhile or the new put was given up.
-- $1 tenant_id, $2 put_id, $3 key, $4 bytes, $5 chunk_bytes, $6 sha256. Index: blob_pkey, blob_loose_pkey.
-- Keep: `for update` reads the newest version of the row, so of two that replace at once each frees another put.
with old as materialized (
  select tenant_id, key, put_id from blob where tenant_id = $1 and key = $3 for update
), put as (
  delete from blob_loose l using old o
  where l.tenant_id = $1 and l.put_id = $2 and not l.abandoned
  returning l.put_id
), freed as (
  insert into blob_loose (tenant_id, put_id, abandoned)
  select o.tenant_id, o.put_id, true from old o, put
)
update blob b
set put_id = put.put_id, bytes = $4, chunk_bytes = $5, sha256 = $6, created_at = now()
from old o, put
where b.tenant_id = $1 and b.key = $3
returning o.put_id
