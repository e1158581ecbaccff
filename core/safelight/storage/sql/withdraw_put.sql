-- withdraw_put: a blob whose put was finished, although its caller never learned it, is no more.
-- $1 tenant_id, $2 key, $3 put_id. Index: blob_pkey. Keep: put_id, as the key may be another's by now.
with gone as (
  delete from blob where tenant_id = $1 and key = $2 and put_id = $3
  returning tenant_id, put_id
)
insert into blob_loose (tenant_id, put_id, abandoned)
select tenant_id, put_id, true from gone
