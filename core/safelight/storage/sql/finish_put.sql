-- finish_put: the chunks of a put become a blob, durably; answers nothing when the put was given up.
-- $1 tenant_id, $2 put_id, $3 key, $4 bytes, $5 chunk_bytes, $6 sha256. Index: blob_loose_pkey.
-- Fails on a taken key (unique violation); then comes replace_blob.
-- Keep: no `on conflict`, which would use up the put without making a blob of it.
with put as (
  delete from blob_loose where tenant_id = $1 and put_id = $2 and not abandoned
  returning tenant_id, put_id
)
insert into blob (tenant_id, key, put_id, bytes, chunk_bytes, sha256)
select tenant_id, $3, put_id, $4, $5, $6 from put
returning put_id
