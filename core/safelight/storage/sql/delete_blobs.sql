-- delete_blobs: a key and all keys under it can no longer be read; answers their puts, to be swept.
-- $1 tenant_id, $2 prefix without a slash at its end. Index: blob_pkey.
-- Keep: `/` and `0` are neighbours, so the range holds `a/1` and `a/1/x` and ends before `a/10`; the filter leaves
-- out `a/1.jpg`. Keep: the order, so that two that delete the same keys wait for each other and do not deadlock.
with picked as materialized (
  select tenant_id, key from blob
  where tenant_id = $1 and key >= $2 and key < $2 || '0' and (key = $2 or starts_with(key, $2 || '/'))
  order by key
  for update
), gone as (
  delete from blob b using picked p
  where b.tenant_id = p.tenant_id and b.key = p.key
  returning b.tenant_id, b.put_id
)
insert into blob_loose (tenant_id, put_id, abandoned)
select tenant_id, put_id, true from gone
returning put_id
